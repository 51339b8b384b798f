// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshLinux
import MeshSteering

struct Cleanup: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Take everything of an instance out of the kernel: eBPF programs, links and maps.",
        discussion: """
            A daemon that has stopped leaves its programs in place, so that nothing of an enrolled workload leaves in \
            clear text meanwhile. Run this when it is not to come back. Does nothing when there is nothing.
            """)

    @Option(help: "The instance (default: default).")
    var instance: String = "default"

    func run() throws {
        do throws(SteeringError) {
            try Steering.removeAll(instance: self.instance)
            DaemonCgroup.remove(instance: self.instance)
        } catch {
            Console.error("nodemeshd: \(error)")
            throw ExitCode(1)
        }
    }
}

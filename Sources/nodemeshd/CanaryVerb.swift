// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAgent
import MeshModel

/// What nodemeshd runs to try whether enrolled workloads are captured; of no use to people.
struct CanaryVerb: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: CanaryProcess.verb, shouldDisplay: false)

    @Option var cgroup: String
    @Option var namespace: String
    @Option var address: String
    @Option var timeout: Int

    func run() throws {
        guard let address = SocketAddress(self.address) else {
            throw ValidationError("'\(self.address)' is not ADDRESS:PORT.")
        }
        Console.line(
            CanaryProcess.run(
                cgroup: self.cgroup, namespace: self.namespace, address: address, timeout: self.timeout))
    }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshSteering

/// `uninstall-node`
package struct UninstallNode: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "uninstall-node",
        abstract: "Take this host out of its mesh.",
        discussion: """
            Stops the daemon for good, takes its eBPF programs, maps and cgroups out of the kernel, and removes its \
            identity, its enrolments and what else it kept. Workloads are not restarted. Works whether the daemon \
            runs, has died or was never started. Without --yes it only tells what it would do.

            With --leave refused the programs stay, without a daemon to carry connections: those into the mesh are \
            refused, whatever the fail mode was, until the workload's cgroup goes (its service is restarted), the host \
            is booted anew, or this is run once more with --leave open.

            The control plane forgets the node with `nodemeshctl node delete`.
            """)

    @Option(
        help: ArgumentHelp(
            "What becomes of workloads' connections into the mesh: open, they go in clear text; refused. (required)",
            valueName: "open|refused"))
    package var leave: Leaving

    @Flag(help: "Remove the configuration and the enrolment files as well. (default: keep them)")
    package var purge = false

    @Flag(help: "Do it. (default: only tell what would be done)")
    package var yes = false

    @Option(
        help: ArgumentHelp("The daemon's configuration. (default: \(InstallNode.defaultFile))", valueName: "path"),
        completion: .file())
    package var config: String = InstallNode.defaultFile

    @Option(
        help: ArgumentHelp("Whose kernel state. (default: as configured, or default)", valueName: "name"))
    package var instance: String?

    @Option(
        help: ArgumentHelp("The daemon's state. (default: as configured, or /var/lib/nodemesh)", valueName: "path"),
        completion: .directory)
    package var dataDir: String?

    @Option(
        help: ArgumentHelp(
            "The directory of the daemon's socket. (default: as configured, or /run/nodemesh)", valueName: "path"),
        completion: .directory)
    package var runDir: String?

    package init() {}

    package func validate() throws {
        for path in [self.dataDir, self.runDir].compactMap(\.self) where !path.hasPrefix("/") || path == "/" {
            throw ValidationError("'\(path)' is not the absolute path of a directory of nodemeshd.")
        }
    }

    package func run() async throws {
        let context = CLIContext.current
        try DaemonUnit.checkRoot(context.host)
        let removal = try NodeRemoval(
            host: context.host, config: self.config, instance: self.instance, dataDirectory: self.dataDir,
            runDirectory: self.runDir, leaving: self.leave, purges: self.purge)
        guard self.yes else {
            context.console.writeError(removal.plan.map { "Would \($0).\n" }.joined())
            throw CLIError("nothing is done", hints: ["To do it:  the same with --yes"])
        }
        for line in try await removal.carryOut() { context.console.writeError("\(line).\n") }
    }
}

extension Leaving: ExpressibleByArgument {}

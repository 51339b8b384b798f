// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshConfiguration

/// `config validate`
package struct ConfigValidate: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "validate",
        abstract: "Check a configuration file; no daemon is asked.",
        discussion: """
            Prints every fault with its line, key and what is allowed. Variables of this shell do not count; what the \
            daemon gets from its environment or command line can be given with --set. Exits 1 if there is a fault.
            """)

    @Argument(help: ArgumentHelp("The file. (default: the daemon's, /etc/nodemesh/DAEMON.yaml)"), completion: .file())
    package var file: String?

    @Option(help: "Whose file it is: nodemeshd or nodemesh-control. (default: nodemeshd)")
    package var daemon: Daemon?

    @Option(
        name: .customLong("set"),
        help: ArgumentHelp("A key that the file leaves out; repeat it. (default: none)", valueName: "key=value"))
    package var settings: [String] = []

    package init() {}

    package func run() async throws {
        let daemon = self.daemon ?? .nodemeshd
        let path = self.file ?? "/etc/nodemesh/\(daemon.rawValue).yaml"
        var sources = ConfigurationSources()
        sources.readFile(named: path, usual: path)
        sources.set(self.settings)
        do throws(ConfigurationError) {
            try daemon.validate(sources)
        } catch {
            throw CLIError(
                "\(path) is not a configuration of \(daemon.rawValue)", details: error.problems,
                hints: ["'nodemeshctl config default --daemon \(daemon.rawValue)' lists every key."])
        }
        try CLIContext.current.console.write("\(Printable.text(path)) is right for \(daemon.rawValue).\n")
    }
}

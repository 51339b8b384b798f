// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `config default`
package struct ConfigDefault: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "default",
        abstract: "Print a configuration file that changes nothing, with every key as a comment.")

    @Option(help: "Whose file it is: nodemeshd or nodemesh-control. (default: nodemeshd)")
    package var daemon: Daemon?

    package init() {}

    package func run() async throws {
        try CLIContext.current.console.write((self.daemon ?? .nodemeshd).defaultFile)
    }
}

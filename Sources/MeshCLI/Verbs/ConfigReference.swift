// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshConfiguration

/// `config reference`, of which `docs/configuration.md` is a copy.
package struct ConfigReference: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "reference", abstract: "Print every key of both daemons, in Markdown.", shouldDisplay: false)

    package init() {}

    package func run() async throws {
        try CLIContext.current.console.write(ConfigurationReference.document)
    }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `config`
package struct ConfigCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "config",
        abstract: "Show and check the daemons' configuration.",
        subcommands: [ConfigShow.self, ConfigValidate.self, ConfigDefault.self, ConfigReference.self])

    package init() {}
}

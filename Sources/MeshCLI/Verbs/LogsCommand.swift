// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `logs`
package struct LogsCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "logs", abstract: "Show and change what the daemons log.", subcommands: [LogsLevel.self])

    package init() {}
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `policy`
package struct PolicyCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "policy",
        abstract: "Try policies out before they are applied.",
        subcommands: [PolicyTest.self])

    package init() {}
}

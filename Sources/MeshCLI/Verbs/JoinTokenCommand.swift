// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `join-token`
package struct JoinTokenCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "join-token",
        abstract: "Create, list and delete the tokens that let nodes join.",
        discussion: "A token works once and is shown once, when it is created.",
        subcommands: [JoinTokenCreate.self, JoinTokenList.self, JoinTokenDelete.self])

    package init() {}
}

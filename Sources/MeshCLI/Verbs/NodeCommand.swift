// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `node`
package struct NodeCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "node", abstract: "List and delete the mesh's nodes.",
        subcommands: [NodeList.self, NodeDelete.self])

    package init() {}
}

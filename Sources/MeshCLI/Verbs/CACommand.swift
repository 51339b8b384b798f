// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `ca`
package struct CACommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "ca",
        abstract: "Show the root certificates of the mesh, and change one for another.",
        discussion: """
            A rotation is `ca rotate`, some waiting, and `ca retire`. In between every node learns to trust the new \
            root, which then begins to sign by itself, and every certificate is renewed. No connection is closed, and \
            none is refused.
            """,
        subcommands: [CAStatus.self, CARotate.self, CACancel.self, CAActivate.self, CARetire.self])

    package init() {}
}

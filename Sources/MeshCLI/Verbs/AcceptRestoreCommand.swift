// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `accept-restore`
package struct AcceptRestoreCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "accept-restore",
        abstract: "Have nodes believe a control plane that was restored from an older backup.",
        discussion: """
            Nodes that have seen a newer store keep what they know and refuse the older one, since it may lack policies. \
            This says that the older one is meant: what was declared after the backup was made is gone then, on every \
            node.
            """)

    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    package func run() async throws {
        _ = try await self.controlPlane.client().send(APIRequest(.post, "/v1/accept-restore"))
        CLIContext.current.console.writeError("The restored store is accepted; nodes take it within seconds.\n")
    }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAdminAPI

/// `join-token list`
package struct JoinTokenList: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the tokens, used ones too.",
        discussion: "The secrets are not kept and cannot be shown again.")

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    package func run() async throws {
        let client = try self.controlPlane.client()
        let body = try await client.get("/v1/join-tokens")
        try Printer(self.output).printList(
            of: JoinTokenSummary.self, body, from: client,
            empty: "There is no join token. Create one: nodemeshctl join-token create")
    }
}

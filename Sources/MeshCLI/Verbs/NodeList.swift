// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAdminAPI

/// `node list`
package struct NodeList: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the nodes that joined the mesh.",
        discussion: "A node that was not heard from within the control plane's node timeout is `gone`.")

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    package func run() async throws {
        let client = try self.controlPlane.client()
        let body = try await client.get("/v1/nodes")
        try Printer(self.output).printList(
            of: NodeSummary.self, body, from: client,
            empty: "No node has joined. Invite one: nodemeshctl join-token create")
    }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAdminAPI

/// `certificate list`
package struct CertificateList: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the certificates this node holds, or those the control plane issued.",
        discussion: "Keys and certificates are never printed: only the identity, the serial number and the times.")

    @OptionGroup package var scope: AllOption
    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Node") package var node: NodeOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    package func run() async throws {
        let client = try self.scope.client(node: self.node, controlPlane: self.controlPlane)
        let body = try await client.get("/v1/certificates")
        try Printer(self.output).printList(
            of: CertificateSummary.self, body, from: client,
            empty: self.scope.all ? "No certificate was issued." : "This node holds no certificate.")
    }
}

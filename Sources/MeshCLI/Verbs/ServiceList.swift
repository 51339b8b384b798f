// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAdminAPI

/// `service list`
package struct ServiceList: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the services as this node knows them, or as the control plane does.",
        discussion: """
            HEALTHY counts the endpoints that take connections. -o wide shows each endpoint and \
            the traffic policy.
            """)

    @OptionGroup package var scope: AllOption
    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Node") package var node: NodeOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    package func run() async throws {
        let client = try self.scope.client(node: self.node, controlPlane: self.controlPlane)
        let body = try await client.get("/v1/services")
        try Printer(self.output).printList(
            of: ServiceSummary.self, body, from: client,
            empty: "No service is known. Apply one: nodemeshctl apply -f FILE")
    }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAdminAPI
import MeshModel

/// `explain`
package struct ExplainCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Say what would happen to a connection, and which policy and rule decides.",
        discussion: """
            Each step is evaluated from what the node has loaded now, by the code that decides about connections: \
            capture, service, endpoints, limits, wire, certificates, mutual TLS, every policy and clause. Nothing is \
            sent to the destination.

            Ask on the node of the source: it decides where the connection goes. The node of the destination decides \
            whether it may; asked there, it says what it makes of the same connection. --all asks the control plane, \
            which knows what both are told and not what they have loaded.

            Exits 0 if the verdict is `allowed`, 1 if it is `denied`, `refused` or `notCaptured` (the mesh leaves the \
            connection alone: it is neither encrypted nor authorised), and 4 if a name is not known.

            EXAMPLES
              nodemeshctl explain default/client web.default:80
              nodemeshctl explain default/client 10.0.0.7:5432 -o json
              nodemeshctl explain 192.0.2.7 10.0.0.7:5432
              nodemeshctl explain default/client web:80 --all
            """)

    @Argument(
        help: ArgumentHelp(
            "The workload that connects, or the IP address of somebody outside the mesh.",
            valueName: "namespace/name|ip"), transform: Values.client)
    package var source: String

    @Argument(
        help: ArgumentHelp(
            "Where to: an IP address, or a service as name (in the source's namespace), name.namespace or "
                + "name.namespace.mesh.internal; and a port.", valueName: "destination:port"))
    package var destination: String

    @OptionGroup package var scope: AllOption
    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Node") package var node: NodeOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    private var namespace: String? { WorkloadID(self.source)?.namespace }

    package func validate() throws { _ = try Values.destination(self.destination, from: self.namespace) }

    package func run() async throws {
        let client = try self.scope.client(node: self.node, controlPlane: self.controlPlane)
        let destination = try Values.destination(self.destination, from: self.namespace)
        let body = try await client.get(
            "/v1/explain?source=\(APIRequest.encode(self.source))&destination=\(APIRequest.encode(destination))")
        let explanation = try client.decode(Explanation.self, from: body)
        let printer = Printer(self.output)
        for note in explanation.notes { printer.note(note) }
        try printer.print(body) { explanation.text(color: printer.usesColor) }
        if explanation.verdict != "allowed" { throw CommandStatus.failed }
    }
}

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
            Ask on the node that runs the source. Nothing is sent to the destination.

            Exits 0 if the verdict is `allowed` and 1 if it is `denied`, `refused` or `notCaptured` (the mesh \
            leaves the connection alone: it is neither encrypted nor authorised).

            EXAMPLES
              nodemeshctl explain default/client web.default:80
              nodemeshctl explain default/client 10.0.0.7:5432 -o json
            """)

    @Argument(
        help: ArgumentHelp("The workload that connects.", valueName: "namespace/name"), transform: Values.workload)
    package var source: WorkloadID

    @Argument(
        help: ArgumentHelp(
            "Where to: an IP address, or a service as name (in the source's namespace), name.namespace or "
                + "name.namespace.mesh.internal; and a port.", valueName: "destination:port"))
    package var destination: String

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Node") package var node: NodeOptions

    package init() {}

    package func validate() throws { _ = try Values.destination(self.destination, from: self.source.namespace) }

    package func run() async throws {
        let client = self.node.client
        let destination = try Values.destination(self.destination, from: self.source.namespace)
        let body = try await client.get(
            "/v1/explain?source=\(APIRequest.encode(self.source.description))"
                + "&destination=\(APIRequest.encode(destination))")
        let explanation = try client.decode(Explanation.self, from: body)
        let printer = Printer(self.output)
        try printer.print(body) { explanation.text(color: printer.usesColor) }
        if explanation.verdict != "allowed" { throw CommandStatus.failed }
    }
}

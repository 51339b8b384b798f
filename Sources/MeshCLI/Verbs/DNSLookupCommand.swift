// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAdminAPI
import MeshModel

/// `dns lookup`
package struct DNSLookupCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "lookup",
        abstract: "Look a name up as nodemeshd answers it, and say where the answer comes from.",
        discussion: """
            The name is taken as it is: search domains are the application's business. Exits 1 unless there is a record.

            EXAMPLES
              nodemeshctl dns lookup web.shop.mesh.internal
              nodemeshctl dns lookup example.org --type AAAA --workload shop/web --resolver 192.0.2.53
            """)

    @Argument(help: "The name.") package var name: String

    @Option(help: ArgumentHelp("A, AAAA, PTR, TYPE65 and so on. (default: A)", valueName: "type"))
    package var type: String?

    @Option(
        help: ArgumentHelp("As if this workload asked. (default: nobody in particular)", valueName: "namespace/name"),
        transform: Values.workload)
    package var workload: WorkloadID?

    @Option(
        help: ArgumentHelp(
            "The resolver that the workload asks, in its resolv.conf. (default: the node's)", valueName: "address"))
    package var resolver: String?

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Node") package var node: NodeOptions

    package init() {}

    package func run() async throws {
        let client = self.node.client
        let parameters = [
            ("name", self.name), ("type", self.type), ("workload", self.workload?.description),
            ("resolver", self.resolver),
        ].compactMap { key, value in value.map { "\(key)=\(APIRequest.encode($0))" } }
        let body = try await client.get("/v1/dns/lookup?" + parameters.joined(separator: "&"))
        let lookup = try client.decode(DNSLookup.self, from: body)
        let printer = Printer(self.output)
        try printer.print(body) { lookup.text(color: printer.usesColor) }
        if lookup.result != "noerror" { throw CommandStatus.failed }
    }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAdminAPI

/// `dns status`
package struct DNSStatusCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show whose names are answered here, the resolvers behind, and what is remembered.",
        discussion: """
            Exits 1 if a workload's names should be answered and are not: it then asks its own resolvers, to which the \
            mesh's names are unknown.
            """)

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Node") package var node: NodeOptions

    package init() {}

    package func run() async throws {
        let client = self.node.client
        let body = try await client.get("/v1/dns")
        let status = try client.decode(DNSStatus.self, from: body)
        let printer = Printer(self.output)
        try printer.print(body) { status.facts.text(color: printer.usesColor) }
        if status.workloads.contains(where: { $0.problem != nil }) { throw CommandStatus.failed }
    }
}

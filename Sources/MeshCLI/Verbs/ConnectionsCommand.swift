// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAdminAPI
import MeshModel

/// `connections`
package struct ConnectionsCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "connections",
        abstract: "List the connections that are open on this node.",
        discussion: """
            One row per connection: who talks to whom, over which wire, how much and for how long. With --uncaptured \
            those that go past the mesh: they were there before the enrolment, and stay as they are until they end. With \
            --watch the list is refreshed on a terminal until it is interrupted; elsewhere, and in JSON, a line tells of \
            each connection that was opened or closed since the last look.
            """)

    @Flag(help: "Only connections of enrolled workloads that are not captured. (default: those that are)")
    package var uncaptured = false

    @Option(
        help: ArgumentHelp("Only those from or to this workload. (default: all)", valueName: "namespace/name"),
        transform: Values.workload)
    package var workload: WorkloadID?

    @Flag(name: .shortAndLong, help: "Go on with what changes. (default: list once)")
    package var watch = false

    @OptionGroup(title: "Refresh") package var refresh: RefreshOptions
    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Node") package var node: NodeOptions

    package init() {}

    package func validate() throws {
        if self.watch, self.uncaptured { throw ValidationError("--watch and --uncaptured do not go together.") }
        if self.watch, self.output.output == .yaml {
            throw ValidationError("--watch prints a table or JSON lines, not YAML.")
        }
        if !self.watch, self.refresh.interval != nil || self.refresh.count != nil {
            throw ValidationError("--interval and --count go with --watch.")
        }
    }

    package func run() async throws {
        let client = self.node.client
        if self.watch {
            let name = self.workload?.description
            return try await ConnectionWatch(client: client, refresh: self.refresh, output: self.output) {
                name == nil || $0.source == name || $0.destinationWorkload == name
            }.run()
        }
        if self.uncaptured { return try await self.listUncaptured(client) }
        var body = try await client.get("/v1/connections")
        if let name = self.workload?.description {
            let all = try client.decode([ConnectionSummary].self, from: body)
            body = try client.encode(all.filter { $0.source == name || $0.destinationWorkload == name })
        }
        let whose = self.workload.map { " of \($0)" } ?? ""
        try Printer(self.output).printList(
            of: ConnectionSummary.self, body, from: client, empty: "No connection\(whose) is open on this node.")
    }

    private func listUncaptured(_ client: APIClient) async throws {
        var body = try await client.get("/v1/connections/uncaptured")
        if let name = self.workload?.description {
            let all = try client.decode([UncapturedConnection].self, from: body)
            body = try client.encode(all.filter { $0.workload == name })
        }
        try Printer(self.output).printList(
            of: UncapturedConnection.self, body, from: client,
            empty: "Every connection\(self.workload.map { " of \($0)" } ?? " of enrolled workloads") is captured.")
    }
}

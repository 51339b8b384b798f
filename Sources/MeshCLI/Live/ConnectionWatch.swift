// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI

/// `connections --watch`: on a terminal the list again and again; elsewhere, and in JSON, what was opened and closed
/// since the last look.
struct ConnectionWatch: Sendable {
    /// A line of JSON.
    private struct Change: Encodable {
        var change: String
        var connection: ConnectionSummary
    }

    let client: APIClient
    let refresh: RefreshOptions
    let output: OutputOptions
    let isMeant: @Sendable (ConnectionSummary) -> Bool

    func run() async throws {
        let screen = Screen(CLIContext.current.console)
        let isList = screen.isLive && self.output.output != .json
        var (known, looks) = ([String: ConnectionSummary](), 0)
        while looks < self.refresh.count ?? .max {
            if looks > 0 { try await self.refresh.wait() }
            let body = try await self.client.get("/v1/connections")
            let all = try self.client.decode([ConnectionSummary].self, from: body).filter(self.isMeant)
            let now = Dictionary(all.map { ($0.id, $0) }) { first, _ in first }
            if isList {
                let printer = Printer(self.output)
                let table = Table(all, at: printer.now).text(wide: printer.isWide, color: printer.usesColor)
                try screen.show(
                    "\(all.count) connections at \(Human.date(printer.now))\n\n" + table, isFirst: looks == 0)
            } else {
                try self.print("opened", all.filter { known[$0.id] == nil })
                try self.print("closed", known.values.filter { now[$0.id] == nil })
            }
            (known, looks) = (now, looks + 1)
        }
    }

    private func print(_ change: String, _ connections: [ConnectionSummary]) throws(CLIError) {
        let console = CLIContext.current.console
        for connection in connections.sorted(by: { $0.sortKey.lexicographicallyPrecedes($1.sortKey) }) {
            if self.output.output == .json {
                let line = try self.client.encode(Change(change: change, connection: connection))
                try console.write(String(decoding: line, as: UTF8.self) + "\n")
            } else {
                let cells = connection.cells(at: CLIContext.current.now())
                let shown = ConnectionSummary.columns.indices
                    .filter { self.output.output == .wide || !ConnectionSummary.columns[$0].isWide }.map {
                        cells[$0].text
                    }
                try console.write("\(change)  \(shown.joined(separator: "  "))\n")
            }
        }
    }
}

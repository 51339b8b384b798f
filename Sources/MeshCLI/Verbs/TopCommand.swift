// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAdminAPI

/// `top`
package struct TopCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Show who talks to whom through this node, how much, and what nodemeshd uses.",
        discussion: """
            A row per client and server: their open connections, bytes a second each way since the last look, and what \
            the open connections have carried. On a terminal the table is refreshed until it is interrupted; elsewhere \
            tables follow each other. In JSON one object a line for each look. CPU is of one processor. Connections \
            that begin and end between two looks do not show.
            """)

    @Option(help: "Sort by rate, sent, received, connections, bytes or name. (default: rate)")
    package var sort: TrafficOrder?

    @Flag(help: "End after one table; the same as --count 1. (default: go on)")
    package var once = false

    @OptionGroup(title: "Refresh") package var refresh: RefreshOptions
    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Node") package var node: NodeOptions

    package init() {}

    package func validate() throws {
        guard self.output.output != .yaml else { throw ValidationError("top prints a table or JSON lines, not YAML.") }
    }

    package func run() async throws {
        let (client, screen) = (self.node.client, Screen(CLIContext.current.console))
        let count = self.once ? 1 : self.refresh.count
        var (earlier, shown) = (try await TrafficSample.take(from: client), 0)
        while shown < count ?? .max {
            try await self.refresh.wait()
            let now: TrafficSample
            do throws(CLIError) {
                now = try await TrafficSample.take(from: client)
            } catch {
                // Who watches a terminal wants to see the daemon come back.
                guard error.status == .unreachable, count == nil, screen.isLive, self.output.output != .json else {
                    throw error
                }
                try screen.show("\(Printable.text(error.message)); waiting for it\n", isFirst: false)
                continue
            }
            var summary = now.traffic(since: earlier)
            summary.pairs = (self.sort ?? .rate).sorted(summary.pairs)
            if self.output.output == .json {
                let line = String(decoding: try client.encode(summary), as: UTF8.self)
                try CLIContext.current.console.write(line + "\n")
            } else {
                try screen.show(self.text(summary), isFirst: shown == 0)
            }
            (earlier, shown) = (now, shown + 1)
        }
    }

    private func text(_ summary: TrafficSummary) -> String {
        let printer = Printer(self.output)
        let loops = summary.loops.map { Self.percent($0.cpuPercent) }.joined(separator: " ")
        let sent = summary.pairs.map(\.sentPerSecond).reduce(0, +)
        let received = summary.pairs.map(\.receivedPerSecond).reduce(0, +)
        let head = """
            \(Printable.text(summary.node)): CPU \(Self.percent(summary.cpuPercent)) (loops \(loops)), \
            \(Human.bytes(summary.memoryBytes)) of memory, \(summary.descriptors) descriptors
            \(summary.pairs.map(\.connections).reduce(0, +)) connections, \(Self.rate(sent)) from clients, \
            \(Self.rate(received)) from servers, over \(Human.duration(summary.seconds))


            """
        let columns: [Column] = [
            "CLIENT", "SERVER", "DIRECTION", "WIRE", Column("CONNECTIONS", .right), Column("SENT/S", .right),
            Column("RECEIVED/S", .right), Column("SENT", .right, isWide: true),
            Column("RECEIVED", .right, isWide: true),
        ]
        let rows = summary.pairs.map { pair in
            [
                Cell(pair.source), Cell(pair.destination), Cell(pair.direction),
                Cell(pair.wire, pair.wire == "plaintext" ? .warning : .plain), Cell("\(pair.connections)"),
                Cell(Self.rate(pair.sentPerSecond)), Cell(Self.rate(pair.receivedPerSecond)),
                Cell(Human.bytes(pair.bytesSent)), Cell(Human.bytes(pair.bytesReceived)),
            ]
        }
        return head + Table(columns: columns, rows: rows).text(wide: printer.isWide, color: printer.usesColor)
    }

    private static func percent(_ value: Double) -> String { String(format: "%.1f%%", value) }

    private static func rate(_ bytesPerSecond: Double) -> String {
        Human.bytes(UInt64(min(max(0, bytesPerSecond), 1e18))) + "/s"
    }
}

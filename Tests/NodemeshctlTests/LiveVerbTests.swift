// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Synchronization
import Testing

@testable import MeshCLI

/// `top` and `connections --watch`.
struct LiveVerbTests {
    /// Answers each look with the next state, and the last one from then on.
    private final class Node: APITransport {
        private let looks: [(usage: UsageSummary, connections: [ConnectionSummary])]
        private let next = Mutex(0)

        init(_ looks: [(usage: UsageSummary, connections: [ConnectionSummary])]) { self.looks = looks }

        func send(_ request: APIRequest, to endpoint: APIEndpoint) async throws(TransportFailure) -> APIResponse {
            let look = self.looks[min(self.next.withLock { $0 }, self.looks.count - 1)]
            let isUsage = request.target == "/v1/usage"
            // A look ends with the connections.
            if !isUsage { self.next.withLock { $0 += 1 } }
            let body =
                isUsage ? try? AdminJSON.encoder.encode(look.usage) : try? AdminJSON.encoder.encode(look.connections)
            return APIResponse(status: 200, body: body ?? Data())
        }

        func stream(
            _ request: APIRequest, to endpoint: APIEndpoint, onLine: @Sendable (Data) async throws -> Void
        ) async throws -> APIResponse? { nil }
    }

    private static func usage(_ clock: Double, cpu: Double, loop: Double, pid: Int32 = 7) -> UsageSummary {
        UsageSummary(
            node: "n1", pid: pid, clockSeconds: clock, cpuSeconds: cpu, memoryBytes: 5 << 20, descriptors: 40,
            loops: [.init(name: "nm-loop-0", cpuSeconds: loop)])
    }

    private static func connection(
        _ id: String, from source: String = "shop/a", sent: UInt64, age: Double = 100
    ) -> ConnectionSummary {
        ConnectionSummary(
            id: id, direction: "outbound", state: "established", source: source, sourceAddress: "10.0.0.1:4000",
            sourceIdentity: nil, destination: "10.0.0.2:80", service: nil, destinationWorkload: "shop/b",
            destinationIdentity: nil, upstream: nil, wire: "splice", bytesSent: sent, bytesReceived: 0, ageSeconds: age)
    }

    private func run(_ line: String, _ node: Node, isTerminal: Bool = false) async -> (status: Int32, output: String) {
        let console = CapturingConsole(isTerminal: isTerminal)
        let context = CLIContext(
            environment: [:], console: console, transport: node, now: { CommandLineRun.now }, probeKernel: { [] },
            sleep: { _ in })
        let status = await CLIContext.$current.withValue(context) {
            await Launcher.run(line.split(separator: " ").map(String.init))
        }
        return (status, console.output)
    }

    private static let looks = [
        (
            usage: Self.usage(10, cpu: 1, loop: 0.5),
            connections: [
                Self.connection("1", sent: 1000), Self.connection("2", sent: 5000),
                Self.connection("3", from: "shop/c", sent: 0),
            ]
        ),
        (
            usage: Self.usage(12, cpu: 2, loop: 1.4),
            connections: [
                Self.connection("1", sent: 3048), Self.connection("3", from: "shop/c", sent: 4096),
                Self.connection("4", sent: 2048, age: 1), Self.connection("5", sent: 999_999, age: 50),
            ]
        ),
    ]

    @Test func ratesAreOfTheTimeBetweenTwoLooks() async throws {
        let (status, output) = await self.run("top --once -o json", Node(Self.looks))
        #expect(status == 0)
        let summary = try AdminJSON.decoder.decode(TrafficSummary.self, from: Data(output.utf8))
        #expect(summary.seconds == 2 && summary.cpuPercent == 50)
        #expect(abs(summary.loops[0].cpuPercent - 45) < 0.001)
        #expect(summary.pairs.map(\.source) == ["shop/a", "shop/c"])
        #expect(summary.pairs[0].connections == 3)
        // 2048 more of the first, 2048 of the new one; when the older ones carried theirs nobody knows.
        #expect(summary.pairs[0].sentPerSecond == 2048)
        #expect(summary.pairs[1].sentPerSecond == 2048)
        let sorted = await self.run("top --once -o json --sort sent", Node(Self.looks))
        #expect(sorted.output.contains("shop/c"))
    }

    @Test func aRestartedDaemonHasNoNegativeRates() async throws {
        let looks = [Self.looks[0], (usage: Self.usage(12, cpu: 0.1, loop: 0, pid: 8), connections: [])]
        let (_, output) = await self.run("top --once -o json", Node(looks))
        let summary = try AdminJSON.decoder.decode(TrafficSummary.self, from: Data(output.utf8))
        #expect(summary.cpuPercent == 0 && summary.pairs.isEmpty && summary.loops[0].cpuPercent == 0)
    }

    @Test func tablesFollowEachOtherInAPipe() async {
        let (status, output) = await self.run("top --count 2", Node(Self.looks))
        #expect(status == 0)
        #expect(output.contains("n1: CPU 50.0% (loops 45.0%), 5.0 MiB of memory, 40 descriptors\n"))
        #expect(output.components(separatedBy: "CLIENT").count == 3)
        #expect(!output.contains("\u{1b}"))
    }

    @Test func aTerminalIsNeverScrolled() async {
        let many = (0..<40).map { Self.connection("\($0)", from: "shop/workload-with-a-long-name-\($0)", sent: 0) }
        let looks = [(usage: Self.usage(1, cpu: 0, loop: 0), connections: many)]
        let (_, output) = await self.run("top --count 3", Node(looks), isTerminal: true)
        let frames = output.components(separatedBy: "\u{1b}[H").dropFirst()
        #expect(frames.count == 3)
        for frame in frames {
            // The stub's terminal has 10 rows of 60 columns.
            let lines = frame.components(separatedBy: "\r\n")
            #expect(lines.count == 10)
            for line in lines {
                let plain = line.replacing(/\u{1b}\[[0-9;]*[A-Za-z]/, with: "")
                #expect(plain.count <= 60)
            }
        }
    }

    @Test func watchTellsWhatOpensAndCloses() async {
        let (status, output) = await self.run("connections --watch --count 2", Node(Self.looks))
        #expect(status == 0)
        let lines = output.split(separator: "\n")
        #expect(lines.count { $0.hasPrefix("opened") } == 5)
        #expect(lines.count { $0.hasPrefix("closed") } == 1)
        let json = await self.run("connections --watch --count 2 --workload shop/c -o json", Node(Self.looks))
        #expect(json.output.split(separator: "\n").count == 1)
        #expect(json.output.contains("\"change\":\"opened\""))
    }

    @Test(arguments: [
        "top -o yaml", "top --sort size", "top --count 0", "connections --watch --uncaptured",
        "connections --interval 2s", "connections --watch -o yaml",
    ])
    func mistakes(line: String) async {
        #expect(await CommandLineRun(line).status == .usage)
    }

    @Test func linesAreCutWithoutTheirColours() {
        #expect(Screen.cut("\u{1b}[32mabcdef\u{1b}[0m", to: 3) == "\u{1b}[32mabc\u{1b}[0m")
        #expect(Screen.cut("abc", to: 3) == "abc")
    }
}

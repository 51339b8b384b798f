// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshAPI
import MeshModel
import MeshTelemetry
import SwiftProtobuf
import Synchronization
import Testing

@testable import MeshTraces

@Suite struct TraceExporterTests {
    /// A collector that answers as it is told to, the last answer again and again.
    private final class Collector: OTLPClient {
        private let state: Mutex<(answers: [OTLPAnswer], bodies: [[UInt8]])>

        init(_ answers: [OTLPAnswer]) { self.state = Mutex((answers, [])) }

        func send(_ body: [UInt8]) async -> OTLPAnswer {
            self.state.withLock { state in
                state.bodies.append(body)
                return state.answers.count > 1 ? state.answers.removeFirst() : state.answers[0]
            }
        }

        func close() async {}

        /// Spans of each request.
        func spans() throws -> [Int] {
            try self.state.withLock { $0.bodies }.map { body in
                try Nodemesh_Otlp_V1_ExportTraceServiceRequest(serializedBytes: body).resourceSpans
                    .flatMap(\.scopeSpans).flatMap(\.spans).count
            }
        }
    }

    private func exporter(
        _ collector: Collector, _ registry: MetricsRegistry, sampling: Double = 1, capacity: Int = 100
    ) -> TraceExporter {
        TraceExporter(
            client: collector, node: "n1", sampling: sampling, registry: registry, capacity: capacity, batchSize: 4,
            interval: .milliseconds(1), logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    /// Runs an exporter until its metrics say what is expected.
    private func run(
        _ exporter: TraceExporter, _ registry: MetricsRegistry, until lines: String...
    ) async throws {
        let task = Task { try await exporter.run() }
        while !lines.allSatisfy({ registry.render().contains($0 + "\n") }) { await Task.yield() }
        task.cancel()
        _ = try? await task.value
    }

    private static func record(_ flags: String? = "01") throws -> ConnectionRecord {
        var record = try ConnectionSpanTests.record(.outbound)
        record.trace = flags.flatMap { TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-\($0)") }
        return record
    }

    @Test(.timeLimit(.minutes(1))) func spansGoOutInBatches() async throws {
        let (collector, registry) = (Collector([.taken(refused: 0)]), MetricsRegistry())
        let exporter = self.exporter(collector, registry)
        for _ in 0..<10 { exporter.ended(try Self.record()) }
        try await self.run(exporter, registry, until: "nodemesh_trace_spans_sent_total 10")
        #expect(try collector.spans() == [4, 4, 2])
        #expect(registry.render().contains("nodemesh_trace_spans_waiting 0\n"))
    }

    @Test func theDiallingNodeChose() throws {
        let registry = MetricsRegistry()
        let exporter = self.exporter(Collector([.taken(refused: 0)]), registry, sampling: 1)
        exporter.ended(try Self.record("00"))
        exporter.ended(try Self.record("01"))
        // Without a traceparent it is for this node to choose.
        exporter.ended(try Self.record(nil))
        #expect(registry.render().contains("nodemesh_trace_spans_waiting 2\n"))
    }

    @Test func withoutSamplingNothingWaits() throws {
        let registry = MetricsRegistry()
        let exporter = self.exporter(Collector([.taken(refused: 0)]), registry, sampling: 0)
        for _ in 0..<100 { exporter.ended(try Self.record(nil)) }
        #expect(registry.render().contains("nodemesh_trace_spans_waiting 0\n"))
    }

    @Test func moreThanThereIsRoomForIsCounted() throws {
        let registry = MetricsRegistry()
        let exporter = self.exporter(Collector([.taken(refused: 0)]), registry, capacity: 3)
        for _ in 0..<10 { exporter.ended(try Self.record()) }
        #expect(registry.render().contains(#"nodemesh_trace_spans_dropped_total{reason="queue"} 7"#))
        #expect(registry.render().contains("nodemesh_trace_spans_waiting 3\n"))
    }

    @Test(.timeLimit(.minutes(1))) func aCollectorThatIsBusyIsAskedAgain() async throws {
        let collector = Collector([.tryAgain(after: 0, "status 503"), .taken(refused: 0)])
        let registry = MetricsRegistry()
        let exporter = self.exporter(collector, registry)
        exporter.ended(try Self.record())
        try await self.run(exporter, registry, until: "nodemesh_trace_spans_sent_total 1")
        #expect(try collector.spans() == [1, 1])
    }

    @Test(.timeLimit(.minutes(1))) func whatTheCollectorRefusesIsCounted() async throws {
        let collector = Collector([.refused("status 400"), .taken(refused: 1)])
        let registry = MetricsRegistry()
        let exporter = self.exporter(collector, registry)
        for _ in 0..<8 { exporter.ended(try Self.record()) }
        try await self.run(
            exporter, registry, until: "nodemesh_trace_spans_sent_total 3",
            #"nodemesh_trace_spans_dropped_total{reason="refused"} 5"#)
        #expect(try collector.spans() == [4, 4])
    }

    @Test func pausesGrowAndEnd() {
        var retry = SpanRetry()
        var pauses: [Double] = []
        while let pause = retry.failed(after: nil, chance: 1) { pauses.append(pause) }
        #expect(pauses.prefix(6) == [1, 2, 4, 8, 16, 30])
        #expect(pauses.reduce(0, +) <= 300)
        #expect(pauses.allSatisfy { $0 <= 30 })
        var asked = SpanRetry()
        #expect(asked.failed(after: 60, chance: 0) == 60)
    }

    @Test(
        arguments: [
            (200, nil, .taken(refused: 0)), (202, nil, .taken(refused: 0)),
            (429, "7", .tryAgain(after: 7, "status 429")), (503, nil, .tryAgain(after: nil, "status 503")),
            (503, "soon", .tryAgain(after: nil, "status 503")), (503, "1e9", .tryAgain(after: 300, "status 503")),
            (400, nil, .refused("status 400")), (500, nil, .refused("status 500")), (301, nil, .refused("status 301")),
        ] as [(Int, String?, OTLPAnswer)])
    func answers(_ status: Int, _ retryAfter: String?, _ expected: OTLPAnswer) {
        #expect(HTTPOTLPClient.judge(status, retryAfter: retryAfter, body: []) == expected)
    }

    @Test func aPartialSuccessSaysHowMany() throws {
        let answer = Nodemesh_Otlp_V1_ExportTraceServiceResponse.with { $0.partialSuccess.rejectedSpans = 3 }
        #expect(
            HTTPOTLPClient.judge(200, retryAfter: nil, body: try answer.serializedBytes()) == .taken(refused: 3))
    }

    @Test func aFileThatIsNotThereIsNamed() throws {
        let settings = TraceSettings(
            endpoint: try #require(TraceSettings.Endpoint("https://collector:4318")),
            authoritiesFile: "/nonexistent/ca.pem")
        let error = #expect(throws: TraceExportError.self) { try HTTPOTLPClient(settings) }
        #expect(error?.description.hasPrefix("otlpCaFile: /nonexistent/ca.pem cannot be read as PEM") == true)
    }
}

// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshAPI
import MeshModel
import MeshTelemetry
import ServiceLifecycle
import SwiftProtobuf
import Synchronization

/// Sends spans of connections that have ended to an OpenTelemetry collector. Whoever reports a connection never waits for
/// it: the queue is bounded, and what the collector does not take in time is dropped and counted.
package final class TraceExporter: ServiceLifecycle.Service {
    private let client: any OTLPClient
    private let node: String
    private let sampling: Double
    private let batchSize: Int
    private let interval: Duration
    private let logger: Logger
    private let queue: Mutex<SpanQueue>

    static let capacity = 8_192
    /// How long the end of the daemon may wait for the last batch.
    private static let farewell = Duration.seconds(3)

    package convenience init(
        _ settings: TraceSettings, node: String, registry: MetricsRegistry, logger: Logger
    ) throws(TraceExportError) {
        self.init(
            client: try HTTPOTLPClient(settings), node: node, sampling: settings.sampling, registry: registry,
            logger: logger)
    }

    init(
        client: any OTLPClient, node: String, sampling: Double, registry: MetricsRegistry, capacity: Int = capacity,
        batchSize: Int = 512, interval: Duration = .seconds(1), logger: Logger
    ) {
        self.client = client
        self.node = node
        self.sampling = sampling
        self.batchSize = batchSize
        self.interval = interval
        self.logger = logger
        self.queue = Mutex(SpanQueue(capacity: capacity))
        Self.register(registry) { [weak self] in
            self?.queue.withLock { ($0.sent, $0.dropped, $0.count) } ?? (0, [:], 0)
        }
    }

    /// The metrics, all zero where no traces are sent.
    package static func registerNone(_ registry: MetricsRegistry) { Self.register(registry) { (0, [:], 0) } }

    private static func register(
        _ registry: MetricsRegistry,
        _ figures: @escaping @Sendable () -> (sent: UInt64, dropped: [SpanQueue.Loss: UInt64], waiting: Int)
    ) {
        registry.collect("nodemesh_trace_spans_sent_total", .counter, help: "Spans that the collector has taken.") {
            [([], Double(figures().sent))]
        }
        registry.collect(
            "nodemesh_trace_spans_dropped_total", .counter,
            help: "Spans dropped: too many waited, the collector refused them, or it was away too long.",
            labels: ["reason"]
        ) {
            let dropped = figures().dropped
            return SpanQueue.Loss.allCases.map { ([$0.rawValue], Double(dropped[$0] ?? 0)) }
        }
        registry.collect("nodemesh_trace_spans_waiting", .gauge, help: "Spans that wait to be sent.") {
            [([], Double(figures().waiting))]
        }
    }

    /// Takes a connection that has ended, if its trace is sampled. Any thread may call it.
    package func ended(_ record: ConnectionRecord) {
        let isSampled = record.trace.map(\.isSampled) ?? (Double.random(in: 0..<1) < self.sampling)
        if isSampled { self.queue.withLock { $0.add(record) } }
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                try? await Task.sleep(for: self.interval)
                await self.sendWaiting()
            }
        }
        await self.sayGoodbye()
        await self.client.close()
    }

    private func take() -> [ConnectionRecord] { self.queue.withLock { $0.take(atMost: self.batchSize) } }

    private func sendWaiting() async {
        while !Task.isCancelled {
            let batch = self.take()
            if batch.isEmpty { return }
            await self.deliver(batch)
        }
    }

    /// Sends a batch until it is taken, refused or too old.
    private func deliver(_ batch: [ConnectionRecord]) async {
        guard let body: [UInt8] = try? ConnectionSpan.request(batch, node: self.node).serializedBytes() else {
            return self.queue.withLock { $0.drop(batch.count, .refused) }
        }
        var retry = SpanRetry()
        while true {
            switch await self.client.send(body) {
            case .taken(let refused):
                return self.queue.withLock { $0.delivered(batch.count, refused: refused) }
            case .refused(let why):
                self.logger.warning(
                    "the trace collector refuses spans", metadata: ["reason": "\(why)", "spans": "\(batch.count)"])
                return self.queue.withLock { $0.drop(batch.count, .refused) }
            case .tryAgain(let after, let why):
                self.logger.debug("the trace collector did not take spans", metadata: ["reason": "\(why)"])
                let pause = Task.isCancelled ? nil : retry.failed(after: after, chance: .random(in: 0...1))
                guard let pause, (try? await Task.sleep(for: .seconds(pause))) != nil else {
                    self.logger.warning(
                        "spans are dropped, since the trace collector cannot be reached",
                        metadata: ["reason": "\(why)", "spans": "\(batch.count)"])
                    return self.queue.withLock { $0.drop(batch.count, .unreachable) }
                }
            }
        }
    }

    /// One try for what is left.
    private func sayGoodbye() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                while true {
                    let batch = self.take()
                    if batch.isEmpty || Task.isCancelled { return }
                    guard let body: [UInt8] = try? ConnectionSpan.request(batch, node: self.node).serializedBytes(),
                        case .taken(let refused) = await self.client.send(body)
                    else { return self.queue.withLock { $0.drop(batch.count, .unreachable) } }
                    self.queue.withLock { $0.delivered(batch.count, refused: refused) }
                }
            }
            group.addTask { try? await Task.sleep(for: Self.farewell) }
            await group.next()
            group.cancelAll()
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshModel
import MeshProxy
import MeshSteering
import MeshTelemetry
import Synchronization

/// Everything the daemon counts, the access log, and the traces of connections.
package final class ConnectionTelemetry: Sendable {
    package let registry: MetricsRegistry
    package let accessLog: AccessLogSwitch
    private let connections: ConnectionMetrics
    /// When the last line of a connection was written that is open (nanoseconds since the Unix epoch), where the access
    /// log tells of those.
    private let lastLines = Mutex<[UInt64: UInt64]>([:])
    /// Told of each connection that has ended.
    private let onEnded: Mutex<(@Sendable (ConnectionRecord) -> Void)?> = Mutex(nil)

    /// - Parameters:
    ///   - accessLog: nil: there is none.
    ///   - cluster: see ``ConnectionMetrics/init(registry:cluster:)``.
    ///   - maxSeries: of each metric.
    package init(
        accessLog: AccessLogSettings? = nil, cluster: String = "Kubernetes", maxSeries: Int = 2_000
    ) throws(AccessLogError) {
        self.registry = MetricsRegistry(maxSeries: maxSeries)
        self.connections = ConnectionMetrics(registry: self.registry, cluster: cluster)
        self.accessLog = try AccessLogSwitch(accessLog, registry: self.registry)
    }

    package func opened(_ record: ConnectionRecord) {
        self.connections.opened(record)
        self.accessLog.write(record, event: .open)
    }

    /// Opened in an earlier run.
    package func resumed(_ record: ConnectionRecord) { self.connections.resumed(record) }

    package func closed(_ record: ConnectionRecord) {
        self.connections.closed(record)
        self.accessLog.write(record)
        self.onEnded.withLock { $0 }?(record)
    }

    /// Has connections told of that have ended, from now on.
    package func setOnEnded(_ body: @escaping @Sendable (ConnectionRecord) -> Void) {
        self.onEnded.withLock { $0 = body }
    }

    /// How open connections are now: all of them.
    package func progress(_ records: [ConnectionRecord]) {
        for record in records { self.connections.progress(record) }
    }

    /// As ``progress(_:)``, and writes the lines of those whose last one is old enough. To be called now and then.
    package func observe(_ records: [ConnectionRecord], now: UInt64) {
        self.progress(records)
        self.connections.releaseSeries()
        guard let settings = self.accessLog.settings, settings.events.contains(.periodic) else {
            return self.lastLines.withLock { $0 = [:] }
        }
        let interval = UInt64(settings.interval) * 1_000_000_000
        self.lastLines.withLock { last in
            var next: [UInt64: UInt64] = [:]
            for record in records {
                let since = last[record.id] ?? record.openedAt
                guard now >= since, now - since >= interval else {
                    if last[record.id] != nil { next[record.id] = since }
                    continue
                }
                next[record.id] = now
                self.accessLog.write(record, event: .periodic)
            }
            last = next
        }
    }

    /// Names of applications and services are those of this view from now on.
    package func update(_ snapshot: MeshSnapshot) { self.connections.update(snapshot) }

    package func watch(_ steering: Steering) {
        self.registry.collect(
            "nodemesh_steering_decisions_total", .counter,
            help: "Decisions of the eBPF programs, by reason, since their maps were made.", labels: ["reason"]
        ) {
            steering.counters().map { ([$0.key], Double($0.value)) }
        }
    }

    package func describe(node: String, loops: Int) {
        self.registry.gauge(
            "nodemesh_build_info", help: "Always 1; the labels say what runs.", labels: ["version", "node"]
        ).with([Version.text, node]).set(1)
        self.registry.gauge("nodemesh_event_loops", help: "Event loops of the data plane.").with().set(Double(loops))
    }
}

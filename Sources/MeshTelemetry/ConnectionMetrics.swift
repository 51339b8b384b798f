// SPDX-License-Identifier: Apache-2.0

package import MeshModel
import Synchronization

/// Counts connections and their bytes by source, destination, identity and outcome. Any thread may call it.
///
/// Each connection is reported as `opened` at most once, then `progress` any number of times, then `closed` once. One
/// that is closed without having been opened has failed. The bytes of a connection that lives for days appear while it
/// lives, from `progress`; `closed` adds the rest.
package final class ConnectionMetrics: Sendable {
    private struct Live {
        var sent: Counter
        var received: Counter
        var open: Gauge
        var sentBytes: UInt64 = 0
        var receivedBytes: UInt64 = 0
    }

    private static let labels = [
        "direction", "source_workload", "source_namespace", "source_identity", "destination_workload",
        "destination_namespace", "destination_service", "destination_identity", "connection_security_policy",
    ]

    private let opened: Metric<Counter>
    private let closed: Metric<Counter>
    private let failed: Metric<Counter>
    private let sent: Metric<Counter>
    private let received: Metric<Counter>
    private let open: Metric<Gauge>
    private let duration: Metric<Histogram>
    private let live = Mutex<[UInt64: Live]>([:])

    package init(registry: MetricsRegistry) {
        self.opened = registry.counter(
            "nodemesh_connections_opened_total", help: "Connections that reached their destination.",
            labels: Self.labels)
        self.closed = registry.counter(
            "nodemesh_connections_closed_total", help: "Opened connections that have ended, by reason.",
            labels: Self.labels + ["reason"])
        self.failed = registry.counter(
            "nodemesh_connections_failed_total",
            help: "Connections that were refused or never reached their destination, by reason and deciding policy.",
            labels: Self.labels + ["reason", "policy"])
        self.sent = registry.counter(
            "nodemesh_connection_bytes_sent_total", help: "Bytes from clients to servers.", labels: Self.labels)
        self.received = registry.counter(
            "nodemesh_connection_bytes_received_total", help: "Bytes from servers to clients.", labels: Self.labels)
        self.open = registry.gauge(
            "nodemesh_connections_open", help: "Connections that are open now.", labels: ["direction"])
        self.duration = registry.histogram(
            "nodemesh_connection_duration_seconds", help: "Lifetime of opened connections.", labels: ["direction"],
            buckets: [0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 86400])
    }

    /// The connection reached its destination. A second call for the same connection changes nothing.
    package func opened(_ record: ConnectionRecord) {
        let values = Self.values(record)
        let new = Live(
            sent: self.sent.with(values), received: self.received.with(values),
            open: self.open.with([record.direction.rawValue]))
        let isNew = self.live.withLock { live in
            if live[record.id] != nil { return false }
            live[record.id] = new
            return true
        }
        guard isNew else { return }
        self.opened.with(values).increment()
        new.open.add(1)
        self.progress(id: record.id, sent: record.bytesSent, received: record.bytesReceived)
    }

    /// The connection was opened in an earlier run, which has counted it and its bytes so far.
    package func resumed(_ record: ConnectionRecord) {
        let values = Self.values(record)
        var entry = Live(
            sent: self.sent.with(values), received: self.received.with(values),
            open: self.open.with([record.direction.rawValue]))
        (entry.sentBytes, entry.receivedBytes) = (record.bytesSent, record.bytesReceived)
        let isNew = self.live.withLock { live in
            if live[record.id] != nil { return false }
            live[record.id] = entry
            return true
        }
        if isNew { entry.open.add(1) }
    }

    /// How many bytes an open connection has carried since it began. Totals, not differences, so that a report may be
    /// lost or repeated; smaller ones than before and unknown connections are ignored.
    package func progress(id: UInt64, sent: UInt64, received: UInt64) {
        self.live.withLock { live in
            guard var entry = live[id] else { return }
            Self.account(&entry, sent: sent, received: received)
            live[id] = entry
        }
    }

    /// The connection has ended, or will never begin.
    package func closed(_ record: ConnectionRecord) {
        let values = Self.values(record)
        let reason = record.reason?.rawValue ?? "unknown"
        let ended = self.live.withLock { $0.removeValue(forKey: record.id) }
        if var ended {
            Self.account(&ended, sent: record.bytesSent, received: record.bytesReceived)
            ended.open.add(-1)
            self.closed.with(values + [reason]).increment()
            self.duration.with([record.direction.rawValue]).observe(Double(record.duration) / 1e9)
        } else {
            self.failed.with(values + [reason, record.policy?.description ?? "none"]).increment()
        }
    }

    /// Connections that are open now.
    package var openCount: Int { self.live.withLock { $0.count } }

    private static func account(_ entry: inout Live, sent: UInt64, received: UInt64) {
        if sent > entry.sentBytes {
            entry.sent.increment(by: sent - entry.sentBytes)
            entry.sentBytes = sent
        }
        if received > entry.receivedBytes {
            entry.received.increment(by: received - entry.receivedBytes)
            entry.receivedBytes = received
        }
    }

    private static func values(_ record: ConnectionRecord) -> [String] {
        let unknown = "unknown"
        return [
            record.direction.rawValue,
            record.source?.name ?? unknown,
            record.source?.namespace ?? record.sourceIdentity?.namespace ?? unknown,
            record.sourceIdentity?.description ?? unknown,
            record.destinationWorkload?.name ?? unknown,
            record.destinationWorkload?.namespace ?? record.destinationIdentity?.namespace ?? unknown,
            record.service?.description ?? unknown,
            record.destinationIdentity?.description ?? unknown,
            record.wire == .splice ? "mutual_tls" : "none",
        ]
    }
}

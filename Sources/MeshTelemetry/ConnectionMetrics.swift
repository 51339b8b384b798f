// SPDX-License-Identifier: Apache-2.0

package import MeshModel
import Synchronization

/// Counts connections and their bytes: in Istio's standard TCP metrics, so that dashboards made for those show this
/// mesh, and in ours by the reason of their end. Any thread may call it.
///
/// Each connection is reported as `opened` at most once, then `progress` any number of times, then `closed` once. One
/// that is closed without having been opened has failed. The bytes of a connection that lives for days appear while it
/// lives, from `progress`; `closed` adds the rest.
package final class ConnectionMetrics: Sendable {
    private struct Live {
        var series: TrafficSeries
        var sentBytes: UInt64 = 0
        var receivedBytes: UInt64 = 0
        var segments: UInt32 = 0
        var retransmitted: UInt32 = 0
    }

    private struct State {
        var live: [UInt64: Live] = [:]
        /// Series of connections like those seen lately.
        var known: [TrafficSeries.Key: TrafficSeries] = [:]
        var snapshot: MeshSnapshot?
    }

    /// Kinds of connections remembered; beyond it all are looked up anew.
    private static let maxKnown = 4_096

    private let cluster: String
    private let families: ConnectionFamilies
    private let state = Mutex(State())

    /// - Parameter cluster: the mesh's name in the labels `source_cluster` and `destination_cluster`.
    package init(registry: MetricsRegistry, cluster: String = "Kubernetes") {
        self.cluster = cluster
        self.families = ConnectionFamilies(registry)
    }

    /// Names of applications and services are those of this view from now on.
    package func update(_ snapshot: MeshSnapshot) {
        self.state.withLock { state in
            state.snapshot = snapshot
            state.known.removeAll(keepingCapacity: true)
        }
    }

    /// Lets go of series that no connection needs now. To be called now and then, or none would ever make room.
    package func releaseSeries() { self.state.withLock { $0.known.removeAll(keepingCapacity: true) } }

    /// The connection reached its destination. A second call for the same connection changes nothing.
    package func opened(_ record: ConnectionRecord) {
        let isNew = self.state.withLock { state in
            if state.live[record.id] != nil { return false }
            let series = self.series(record, &state)
            for report in series.reports { report.opened.increment() }
            var entry = Live(series: series)
            Self.account(&entry, sent: record.bytesSent, received: record.bytesReceived)
            state.live[record.id] = entry
            return true
        }
        if isNew { self.families.open[record.direction]?.add(1) }
    }

    /// The connection was opened in an earlier run, which has counted it and its bytes so far.
    package func resumed(_ record: ConnectionRecord) {
        let isNew = self.state.withLock { state in
            if state.live[record.id] != nil { return false }
            var entry = Live(series: self.series(record, &state))
            (entry.sentBytes, entry.receivedBytes) = (record.bytesSent, record.bytesReceived)
            state.live[record.id] = entry
            return true
        }
        if isNew { self.families.open[record.direction]?.add(1) }
    }

    /// How many bytes an open connection has carried since it began, and how its way is. Totals, not differences, so
    /// that a report may be lost or repeated; smaller ones than before and unknown connections are ignored.
    package func progress(_ record: ConnectionRecord) {
        self.state.withLock { state in
            guard var entry = state.live[record.id] else { return }
            Self.account(&entry, sent: record.bytesSent, received: record.bytesReceived)
            if let tcp = record.tcp { self.account(&entry, tcp) }
            state.live[record.id] = entry
        }
    }

    /// The connection has ended, or will never begin.
    package func closed(_ record: ConnectionRecord) {
        let reason = record.reason
        let wasOpen = self.state.withLock { state in
            let flags: ResponseFlags
            let series: TrafficSeries
            if var entry = state.live.removeValue(forKey: record.id) {
                series = entry.series
                flags = ResponseFlags(reason, wasOpen: true)
                Self.account(&entry, sent: record.bytesSent, received: record.bytesReceived)
                if let tcp = record.tcp { self.account(&entry, tcp) }
                self.end(series, flags)
                if let by = reason.flatMap(Self.resetter) { self.families.resets.with(series.path + [by]).increment() }
                self.closedCounter(series, reason).increment()
                return true
            }
            series = self.series(record, &state)
            flags = ResponseFlags(reason, wasOpen: false)
            for report in series.reports { report.opened.increment() }
            self.end(series, flags)
            self.families.failed.with(
                series.own + [reason?.rawValue ?? TrafficLabels.unknown, record.policy?.description ?? "none"]
            ).increment()
            return false
        }
        if wasOpen {
            self.families.open[record.direction]?.add(-1)
            self.families.duration[record.direction]?.observe(Double(record.duration) / 1e9)
            if let tcp = record.tcp, tcp.smoothedRTT > 0 {
                self.families.roundTripTimes.observe(Double(tcp.smoothedRTT) / 1e6)
            }
        }
        for (phase, microseconds) in record.phases.reached {
            self.families.phases[record.direction]?[phase]?.observe(Double(microseconds) / 1e6)
        }
    }

    /// Connections that are open now.
    package var openCount: Int { self.state.withLock { $0.live.count } }

    // MARK: - Series

    private func series(_ record: ConnectionRecord, _ state: inout State) -> TrafficSeries {
        let key = TrafficSeries.Key(record)
        if let known = state.known[key] { return known }
        let labels = TrafficLabels(record, state.snapshot, cluster: self.cluster)
        // Of a connection between two workloads of this node nobody else tells what its other end sees.
        let reporters =
            switch record.wire {
            case .local, .direct: ["source", "destination"]
            case .plaintext, .splice: [record.direction == .outbound ? "source" : "destination"]
            }
        let new = TrafficSeries(
            labels: labels,
            reports: reporters.map { reporter in
                let values = labels.values(reporter: reporter, flags: .none)
                return TrafficSeries.Report(
                    reporter: reporter, opened: self.families.opened.with(values),
                    sent: self.families.sent.with(values),
                    received: self.families.received.with(values), closed: [.none: self.families.ended.with(values)])
            }, own: Self.values(record), path: Self.pathValues(record, state.snapshot))
        if state.known.count >= Self.maxKnown { state.known.removeAll(keepingCapacity: true) }
        state.known[key] = new
        return new
    }

    private func end(_ series: TrafficSeries, _ flags: ResponseFlags) {
        for index in series.reports.indices {
            let reporter = series.reports[index].reporter
            let counter =
                series.reports[index].closed[flags]
                ?? self.families.ended.with(series.labels.values(reporter: reporter, flags: flags))
            series.reports[index].closed[flags] = counter
            counter.increment()
        }
    }

    private func closedCounter(_ series: TrafficSeries, _ reason: CloseReason?) -> Counter {
        guard let reason else { return self.families.closed.with(series.own + [TrafficLabels.unknown]) }
        if let known = series.closed[reason] { return known }
        let new = self.families.closed.with(series.own + [reason.rawValue])
        series.closed[reason] = new
        return new
    }

    private static func account(_ entry: inout Live, sent: UInt64, received: UInt64) {
        if sent > entry.sentBytes {
            // Istio's words are those of the server, whoever reports: see the metrics' help.
            for report in entry.series.reports { report.received.increment(by: sent - entry.sentBytes) }
            entry.sentBytes = sent
        }
        if received > entry.receivedBytes {
            for report in entry.series.reports { report.sent.increment(by: received - entry.receivedBytes) }
            entry.receivedBytes = received
        }
    }

    private func account(_ entry: inout Live, _ tcp: TCPHealth) {
        let series = entry.series
        let health =
            series.health
            ?? TrafficSeries.HealthSeries(
                roundTripTime: self.families.roundTripTime.with(series.path),
                sent: self.families.segments.with(series.path),
                retransmitted: self.families.retransmitted.with(series.path))
        series.health = health
        if tcp.smoothedRTT > 0 { health.roundTripTime.set(Double(tcp.smoothedRTT) / 1e6) }
        if tcp.sentSegments > entry.segments {
            health.sent.increment(by: UInt64(tcp.sentSegments - entry.segments))
            entry.segments = tcp.sentSegments
        }
        if tcp.retransmittedSegments > entry.retransmitted {
            health.retransmitted.increment(by: UInt64(tcp.retransmittedSegments - entry.retransmitted))
            entry.retransmitted = tcp.retransmittedSegments
        }
    }

    // MARK: - Labels

    private static func resetter(_ reason: CloseReason) -> String? {
        switch reason {
        case .clientReset: "client"
        case .serverReset: "server"
        case .tunnelReset: "peer_node"
        default: nil
        }
    }

    private static func values(_ record: ConnectionRecord) -> [String] {
        let unknown = TrafficLabels.unknown
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

    /// The peer node is the one at the other end of the tunnel, or this one.
    private static func pathValues(_ record: ConnectionRecord, _ snapshot: MeshSnapshot?) -> [String] {
        let unknown = TrafficLabels.unknown
        let peer: String
        switch record.wire {
        case .local, .direct: peer = snapshot?.localNode ?? unknown
        case .plaintext: peer = "none"
        case .splice:
            let workload = record.direction == .outbound ? record.destinationWorkload : record.source
            peer = workload.flatMap { snapshot?.workload($0)?.node } ?? unknown
        }
        return [
            record.direction.rawValue, record.source?.name ?? unknown,
            record.source?.namespace ?? record.sourceIdentity?.namespace ?? unknown,
            record.destinationWorkload?.name ?? unknown,
            record.destinationWorkload?.namespace ?? record.destinationIdentity?.namespace ?? unknown, peer,
        ]
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshLinux
import MeshModel
import MeshTelemetry
import Synchronization

/// Hears of every connection about which this node's policies decided: counts what dry-run policies said, and keeps what
/// the control plane has not been told of yet. Any thread may call it.
package final class DecisionLog: Sendable {
    /// What the control plane is told at one time.
    package struct Report: Sendable, Hashable {
        /// Grows from 1 on; a report that is sent again has the same one.
        package var sequence: UInt64
        package var connections: [DecidedConnection: DecidedTally]
        /// Connections since the report before that there was no room for.
        package var dropped: UInt64
    }

    private struct State {
        var waiting: [DecidedConnection: DecidedTally] = [:]
        var dropped: UInt64 = 0
        var sequence: UInt64 = 0
        /// Not known to have arrived.
        var sent: Report?
    }

    /// Tells the reports of one run of the daemon from those of another.
    package let run = UInt64.random(in: 1...UInt64.max)
    private let state = Mutex(State())
    private let limit: Int
    private let reportLimit: Int
    private let now: @Sendable () -> Int64
    private let dryRuns: DryRunMetrics

    /// - Parameters:
    ///   - limit: different ones that wait at one time; further ones are dropped and counted.
    ///   - reportLimit: different ones in one report.
    ///   - now: seconds since the Unix epoch.
    package init(
        registry: MetricsRegistry, limit: Int = 8192, reportLimit: Int = 1024,
        now: @escaping @Sendable () -> Int64 = { Int64(Clock.wall / 1_000_000_000) }
    ) {
        self.dryRuns = DryRunMetrics(registry: registry)
        self.limit = limit
        self.reportLimit = reportLimit
        self.now = now
    }

    /// A connection reached its destination.
    package func opened(_ record: ConnectionRecord) {
        if record.policyReason?.isAllowed == true { self.note(record) }
    }

    /// A connection ended, or was refused. One that was open before was counted then.
    package func closed(_ record: ConnectionRecord) {
        if record.policyReason?.isAllowed == false { self.note(record) }
    }

    private func note(_ record: ConnectionRecord) {
        self.dryRuns.count(record)
        guard let connection = DecidedConnection(record) else { return }
        let now = self.now()
        self.state.withLock { state in
            if state.waiting[connection] == nil, state.waiting.count >= self.limit {
                state.dropped &+= 1
                return
            }
            state.waiting[connection, default: DecidedTally(count: 0, first: now, last: now)]
                .add(DecidedTally(count: 1, first: now, last: now))
        }
    }

    // MARK: - Telling the control plane

    /// What to send next: what was sent before, until it has arrived; nil: there is nothing.
    package func next() -> Report? {
        self.state.withLock { state in
            if let sent = state.sent { return sent }
            if state.waiting.isEmpty, state.dropped == 0 { return nil }
            var connections: [DecidedConnection: DecidedTally] = [:]
            if state.waiting.count <= self.reportLimit {
                swap(&connections, &state.waiting)
            } else {
                for (connection, tally) in state.waiting.prefix(self.reportLimit) {
                    connections[connection] = tally
                    state.waiting[connection] = nil
                }
            }
            state.sequence += 1
            let report = Report(sequence: state.sequence, connections: connections, dropped: state.dropped)
            state.dropped = 0
            state.sent = report
            return report
        }
    }

    /// The report has arrived.
    ///
    /// - Returns: whether more waits than one report takes.
    package func arrived(_ report: Report) -> Bool {
        self.state.withLock { state in
            if state.sent?.sequence == report.sequence { state.sent = nil }
            return state.waiting.count >= self.reportLimit
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Synchronization

/// What nodes have reported of the connections of the last hour, in memory and bounded. Times are seconds since the Unix
/// epoch.
package final class RecentConnections: Sendable {
    /// Older ones are forgotten.
    package static let retention: Int64 = 3600
    /// Counts are kept for so many seconds together.
    package static let step: Int64 = 300

    /// What one node decided, under its name: nobody's word counts for another one's workloads.
    package struct Key: Hashable, Sendable {
        package var node: String
        package var connection: DecidedConnection
    }

    private struct Entry {
        var first: Int64
        var last: Int64
        var counts: [(step: Int64, count: UInt64)]
    }

    private struct Reporter {
        var run: UInt64 = 0
        var sequence: UInt64 = 0
        var at: Int64 = 0
    }

    private struct State {
        var entries: [Key: Entry] = [:]
        var reporters: [String: Reporter] = [:]
        var dropped: [(step: Int64, count: UInt64)] = []
        var droppedTotal: UInt64 = 0
        var prunedAt: Int64 = 0
    }

    /// The answer to ``recent(since:now:)``.
    package struct Answer: Sendable {
        package var connections: [(key: Key, tally: DecidedTally)]
        /// For want of room, here or on a node.
        package var dropped: UInt64
        /// Those that have reported.
        package var nodes: [String]
    }

    private let state = Mutex(State())
    private let limit: Int
    /// When it began to listen.
    package let startedAt: Int64

    /// - Parameter limit: different ones kept at one time; further ones are dropped and counted.
    package init(limit: Int = 50_000, startedAt: Int64) {
        self.limit = limit
        self.startedAt = startedAt
    }

    /// A node reports. The same report again changes nothing.
    package func add(
        _ connections: [DecidedConnection: DecidedTally], dropped: UInt64, from node: String, run: UInt64,
        sequence: UInt64, now: Int64
    ) {
        self.state.withLock { state in
            let known = state.reporters[node] ?? Reporter()
            state.reporters[node] = Reporter(run: run, sequence: sequence, at: now)
            if known.run == run, known.sequence >= sequence { return }
            if now - state.prunedAt >= Self.step { Self.prune(&state, now: now) }
            Self.count(dropped, at: now, in: &state.dropped)
            state.droppedTotal &+= dropped
            for (connection, tally) in connections where tally.last > now - Self.retention {
                let key = Key(node: node, connection: connection)
                if state.entries[key] == nil, state.entries.count >= self.limit {
                    Self.count(tally.count, at: now, in: &state.dropped)
                    state.droppedTotal &+= tally.count
                    continue
                }
                var entry = state.entries[key] ?? Entry(first: tally.first, last: tally.last, counts: [])
                entry.first = min(entry.first, tally.first)
                entry.last = max(entry.last, tally.last)
                Self.count(tally.count, at: tally.last, in: &entry.counts)
                state.entries[key] = entry
            }
        }
    }

    /// A node is silent while nothing happens there, so this is about those that had something to tell.
    package func recent(since: Int64, now: Int64) -> Answer {
        self.state.withLock { state in
            Self.prune(&state, now: now)
            var answer = Answer(connections: [], dropped: Self.sum(state.dropped, since: since), nodes: [])
            for (key, entry) in state.entries where entry.last >= since {
                let count = Self.sum(entry.counts, since: since)
                answer.connections.append(
                    (key, DecidedTally(count: count, first: max(entry.first, since), last: entry.last)))
            }
            answer.nodes = state.reporters.filter { $0.value.at >= since }.keys.sorted()
            return answer
        }
    }

    /// A node is gone for good.
    package func forget(_ node: String) {
        self.state.withLock { state in
            state.reporters[node] = nil
            state.entries = state.entries.filter { $0.key.node != node }
        }
    }

    package var count: Int { self.state.withLock { $0.entries.count } }

    /// Since the start.
    package var dropped: UInt64 { self.state.withLock { $0.droppedTotal } }

    private static func count(_ count: UInt64, at time: Int64, in counts: inout [(step: Int64, count: UInt64)]) {
        if count == 0 { return }
        let step = time / Self.step
        if let index = counts.lastIndex(where: { $0.step == step }) {
            counts[index].count &+= count
        } else {
            counts.append((step, count))
        }
    }

    private static func sum(_ counts: [(step: Int64, count: UInt64)], since: Int64) -> UInt64 {
        counts.reduce(0) { ($1.step + 1) * Self.step > since ? $0 &+ $1.count : $0 }
    }

    private static func prune(_ state: inout State, now: Int64) {
        state.prunedAt = now
        let oldest = (now - Self.retention) / Self.step
        state.dropped.removeAll { $0.step < oldest }
        state.reporters = state.reporters.filter { $0.value.at > now - Self.retention }
        state.entries = state.entries.filter { $0.value.last > now - Self.retention }
        for key in state.entries.keys { state.entries[key]?.counts.removeAll { $0.step < oldest } }
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshStore
import Synchronization

/// Which nodes are heard from. Times are monotonic: a step of the wall clock declares nobody dead.
package final class NodeLiveness: Sendable {
    package typealias Instant = ContinuousClock.Instant

    private struct State {
        var timeout: Duration
        var heard: [String: Instant] = [:]
        var alive: Set<String> = []
        /// Heard from since the last ``takeHeard(now:)``.
        var fresh: Set<String> = []
        var generation: UInt64 = 0
    }

    private let state: Mutex<State>

    package init(timeout: Duration) { self.state = Mutex(State(timeout: timeout)) }

    /// How long a node may be silent.
    package var timeout: Duration {
        get { self.state.withLock { $0.timeout } }
        set { self.state.withLock { $0.timeout = newValue } }
    }

    /// Starts from what the store knows. Time that the control plane itself was away is nobody's fault: the node heard
    /// from last counts as heard from now, and others are as far behind it as they were.
    package func restore(_ nodes: [NodeRecord], now: Instant) {
        let latest = nodes.compactMap(\.lastSeenAt).max()
        self.state.withLock { state in
            for node in nodes {
                guard let latest, let seen = node.lastSeenAt else { continue }
                // The store hears of heartbeats only now and then (see ``Housekeeping``).
                let behind = latest.timeIntervalSince(seen) - Housekeeping.writeInterval
                state.heard[node.name] = now - .seconds(max(0, behind))
            }
        }
        _ = self.sweep(now: now)
    }

    /// A node called; true when it was not alive before.
    @discardableResult
    package func heard(_ node: String, now: Instant) -> Bool {
        self.state.withLock { state in
            state.heard[node] = now
            state.fresh.insert(node)
            guard state.alive.insert(node).inserted else { return false }
            state.generation += 1
            return true
        }
    }

    package func forget(_ node: String) {
        self.state.withLock { state in
            state.heard[node] = nil
            state.fresh.remove(node)
            if state.alive.remove(node) != nil { state.generation += 1 }
        }
    }

    /// Declares dead whoever was silent for too long.
    ///
    /// - Returns: who that is.
    package func sweep(now: Instant) -> Set<String> {
        self.state.withLock { state in
            let alive = Set(state.heard.filter { now - $0.value <= state.timeout }.keys)
            let died = state.alive.subtracting(alive)
            if alive != state.alive { state.generation += 1 }
            state.alive = alive
            return died
        }
    }

    package func isAlive(_ node: String) -> Bool { self.state.withLock { $0.alive.contains(node) } }

    package var alive: Set<String> { self.state.withLock { $0.alive } }

    /// Grows with every change of who is alive.
    package var generation: UInt64 { self.state.withLock { $0.generation } }

    /// Who was heard from since the last call, and how long ago.
    package func takeHeard(now: Instant) -> [String: Duration] {
        self.state.withLock { state in
            defer { state.fresh = [] }
            return state.fresh.reduce(into: [:]) { result, node in
                result[node] = state.heard[node].map { now - $0 }
            }
        }
    }

    /// How long ago a node was heard from.
    package func silence(of node: String, now: Instant) -> Duration? {
        self.state.withLock { $0.heard[node].map { now - $0 } }
    }
}

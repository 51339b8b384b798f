// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshDiscovery
import MeshModel
import ServiceLifecycle
import Synchronization

/// Keeps the node's view on disk: some time after a change, and at the end. What cannot be written is tried again.
package final class ViewKeeper: ServiceLifecycle.Service {
    /// How long changes are gathered; also the least time between two writes.
    private static let debounce = Duration.seconds(1)
    /// Writing may take this part of the time.
    private static let share = 20
    /// How often the time of the last confirmation is brought up to date.
    private static let markInterval = Duration.seconds(60)

    private struct State {
        var sequence: UInt64
        /// There is something that is not on disk.
        var isDue = false
        /// What was due is being written.
        var isWriting = false
        /// A view is on disk, to which a mark belongs.
        var isKept: Bool
    }

    private let store: ViewStore
    private let queue: StateQueue
    private let faults: StateFaults
    private let freshness: ViewFreshness
    private let node: String
    private let trustDomain: String
    private let clock: any AgentClock
    private let logger: Logger
    private let source: @Sendable () -> DeltaClient?
    private let state: Mutex<State>
    private let alarm: Alarm

    /// - Parameters:
    ///   - found: what was there at start.
    ///   - source: what discovery holds; nil: nothing whole.
    package init(
        store: ViewStore, found: ViewStore.Found, node: String, trustDomain: String, queue: StateQueue,
        faults: StateFaults, freshness: ViewFreshness, clock: any AgentClock = SystemClock(), logger: Logger,
        source: @escaping @Sendable () -> DeltaClient?
    ) {
        self.store = store
        self.queue = queue
        self.faults = faults
        self.freshness = freshness
        self.node = node
        self.trustDomain = trustDomain
        self.clock = clock
        self.logger = logger
        self.source = source
        self.state = Mutex(State(sequence: found.sequence, isKept: found.snapshot != nil))
        self.alarm = Alarm(clock: clock)
    }

    /// Whether a start without the control plane would find what this run knows.
    package var isCurrent: Bool {
        self.state.withLock { $0.isKept && !$0.isDue && !$0.isWriting }
    }

    /// The view is another than the one on disk.
    package func changed() {
        self.state.withLock { $0.isDue = true }
        self.alarm.ring()
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown { await self.work() }
        // Uncancelled: the last word is to be on disk.
        _ = await Task { await self.write() }.value
    }

    private func work() async {
        var backoff = Backoff(initial: .seconds(5), maximum: .seconds(300))
        self.alarm.ring(after: Self.markInterval)
        for await _ in self.alarm.rings {
            do {
                if self.state.withLock({ $0.isDue }) { try await self.clock.sleep(for: Self.debounce) }
                let start = self.clock.uptime
                if await self.write() {
                    backoff.reset()
                    try await self.clock.sleep(for: (self.clock.uptime - start) * Self.share)
                    self.alarm.ring(after: Self.markInterval)
                } else {
                    self.alarm.ring(after: backoff.next(jitter: self.clock.jitter()))
                    // Changes that come meanwhile do not make it try sooner.
                    try await self.clock.sleep(for: Self.debounce * 5)
                }
            } catch {
                return
            }
        }
    }

    /// Writes what has changed, or else when it was last confirmed.
    ///
    /// - Returns: whether it is on disk.
    @discardableResult
    package func write() async -> Bool {
        let (isDue, isKept) = self.state.withLock { ($0.isDue, $0.isKept) }
        guard let discovery = self.source(), let confirmedAt = self.freshness.confirmedAt else { return true }
        let revision = discovery.revision
        do {
            if isDue || !isKept {
                let sequence = self.state.withLock { state in
                    state.isDue = false
                    state.isWriting = true
                    state.sequence += 1
                    return state.sequence
                }
                let header = ViewSnapshot.Header(
                    node: self.node, trustDomain: self.trustDomain, sequence: sequence, revision: revision,
                    savedAt: self.clock.now, confirmedAt: confirmedAt)
                try await self.queue.run { [store] in
                    try store.save(ViewSnapshot(header: header, responses: try discovery.kept()))
                }
                self.state.withLock { state in
                    state.isKept = true
                    state.isWriting = false
                }
                self.logger.debug("the view is on disk", metadata: ["sequence": "\(sequence)"])
            } else {
                let mark = ViewMark(
                    node: self.node, sequence: self.state.withLock { $0.sequence }, revision: revision,
                    confirmedAt: confirmedAt)
                try await self.queue.run { [store] in try store.save(mark) }
            }
            self.faults.clear("view")
            return true
        } catch {
            self.state.withLock { state in
                state.isDue = state.isDue || isDue
                state.isWriting = false
            }
            self.faults.report("view", (error as? ControlPlaneError)?.message ?? "the view cannot be kept: \(error)")
            return false
        }
    }
}

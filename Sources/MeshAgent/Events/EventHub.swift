// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import Synchronization

/// Keeps the latest events and hands new ones to whoever listens. Nobody who publishes waits: a listener that does not
/// keep up loses events and is told how many.
package final class EventHub: Sendable {
    /// One listener's events; ends when the hub does or the listener lets go of it.
    package struct Subscription: Sendable, AsyncSequence {
        package typealias Element = NodeEvent
        fileprivate let stream: AsyncStream<NodeEvent>
        package func makeAsyncIterator() -> AsyncStream<NodeEvent>.Iterator { self.stream.makeAsyncIterator() }
    }

    private struct Listener {
        let continuation: AsyncStream<NodeEvent>.Continuation
        /// Since the last one that found room.
        var lost: UInt64 = 0
    }

    private struct State {
        /// A ring: `first` is the oldest's place once it is full.
        var history: [NodeEvent] = []
        var first = 0
        var listeners: [UInt64: Listener] = [:]
        var next: UInt64 = 0
        var lost: UInt64 = 0
        var isClosed = false
    }

    private let capacity: Int
    private let queue: Int
    private let listenerLimit: Int
    private let state = Mutex(State())

    /// - Parameters:
    ///   - capacity: events kept for those who ask later.
    ///   - queue: events that may wait for one listener.
    ///   - listeners: at most so many at a time.
    package init(capacity: Int = 4096, queue: Int = 1024, listeners: Int = 64) {
        self.capacity = max(1, capacity)
        self.queue = max(1, queue)
        self.listenerLimit = listeners
    }

    package func publish(_ event: NodeEvent) {
        self.state.withLock { state in
            if state.history.count < self.capacity {
                state.history.append(event)
            } else {
                state.history[state.first] = event
                state.first = (state.first + 1) % self.capacity
            }
            for key in state.listeners.keys { self.deliver(event, to: key, &state) }
        }
    }

    private func deliver(_ event: NodeEvent, to key: UInt64, _ state: inout State) {
        guard var listener = state.listeners[key] else { return }
        if listener.lost > 0 {
            let notice = NodeEvent(
                time: event.time, kind: "lost", reason: "subscriber_slow",
                detail: "\(listener.lost) events were dropped since they were not read fast enough")
            if case .enqueued = listener.continuation.yield(notice) { listener.lost = 0 }
        }
        if listener.lost > 0 {
            listener.lost += 1
            state.lost += 1
        } else if case .dropped = listener.continuation.yield(event) {
            listener.lost = 1
            state.lost += 1
        }
        state.listeners[key] = listener
    }

    /// The kept events, oldest first.
    package var history: [NodeEvent] {
        self.state.withLock { state in Array(state.history[state.first...] + state.history[..<state.first]) }
    }

    /// Events that listeners did not take in time.
    package var lost: UInt64 { self.state.withLock { $0.lost } }

    package var listeners: Int { self.state.withLock { $0.listeners.count } }

    /// The kept events and, without a gap, those that come; nil when too many listen.
    package func subscribe() -> (history: [NodeEvent], subscription: Subscription)? {
        let (stream, continuation) = AsyncStream.makeStream(
            of: NodeEvent.self, bufferingPolicy: .bufferingOldest(self.queue))
        return self.state.withLock { state in
            guard state.listeners.count < self.listenerLimit, !state.isClosed else { return nil }
            let key = state.next
            state.next += 1
            state.listeners[key] = Listener(continuation: continuation)
            continuation.onTermination = { [weak self] _ in
                self?.state.withLock { state in _ = state.listeners.removeValue(forKey: key) }
            }
            return (Array(state.history[state.first...] + state.history[..<state.first]), Subscription(stream: stream))
        }
    }

    /// Ends every subscription; there are no more.
    package func close() {
        let listeners = self.state.withLock { state in
            state.isClosed = true
            defer { state.listeners = [:] }
            return state.listeners
        }
        for listener in listeners.values { listener.continuation.finish() }
    }
}

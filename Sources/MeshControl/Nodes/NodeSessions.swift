// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The calls that nodes have open, so that those of a deleted node can be ended.
package final class NodeSessions: Sendable {
    private struct State {
        var last: UInt64 = 0
        var sessions: [String: [UInt64: AsyncStream<Void>.Continuation]] = [:]
    }

    private let state = Mutex(State())

    package init() {}

    /// Waits until the node is ended; returns also when the waiting task is cancelled.
    ///
    /// - Parameter isValid: asked once the wait has begun: a node that was deleted just before is ended too.
    func waitForEnd(of node: String, isValid: () async -> Bool) async {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        let id = self.state.withLock { state in
            state.last += 1
            state.sessions[node, default: [:]][state.last] = continuation
            return state.last
        }
        if await isValid() {
            for await _ in stream {}
        }
        self.state.withLock { state in
            state.sessions[node]?[id] = nil
            if state.sessions[node]?.isEmpty == true { state.sessions[node] = nil }
        }
    }

    /// Ends every open call of a node.
    package func end(_ node: String) {
        let ended = self.state.withLock { $0.sessions[node].map { Array($0.values) } ?? [] }
        for continuation in ended { continuation.finish() }
    }
}

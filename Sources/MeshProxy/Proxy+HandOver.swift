// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import Synchronization

/// Handing the data plane over to another one.
extension Proxy {
    /// Stops every loop between two turns and takes out of it all that lives: listeners, established connections, pooled
    /// tunnels. Afterwards the proxy has ended as after ``stop()``; nothing was closed but what the summary lists.
    ///
    /// Blocks for ``settleLimit`` at most and the time that copying takes: never call it on one of Swift's shared threads.
    ///
    /// - Parameters:
    ///   - settle: TLS handshakes of peers that were answered may end first, while relays go on and new connections wait
    ///     in the listeners' queues; but not longer than this without one of them ending.
    ///   - version: the format that the reader understands; nil: the newest.
    ///   - whenSettled: done before relays stop; it may take a moment.
    /// - Throws: when that format cannot be written, or the proxy does not run; it then goes on as before.
    package func freeze(
        settle: Duration = .seconds(1), version: Int? = nil, whenSettled: () -> Void = {}
    ) throws(ProxyError) -> ProxyState {
        if let version, !HandOverFormat.versions.contains(version) {
            throw ProxyError(
                "version \(version) of the hand-over format is not known here, only \(HandOverFormat.versions)")
        }
        let state = try self.attaching.withLock { (_: inout Void) throws(ProxyError) -> State in
            let state = self.state.withLock { state in
                defer { if !state.loops.isEmpty { state = State(isStopped: true) } }
                return state
            }
            if state.loops.isEmpty { throw ProxyError("the data plane does not run") }
            return state
        }
        for loop in state.loops { loop.submit { $0.beginFreeze() } }
        state.workers?.returnNew()
        Self.settle(state.loops, patience: settle)
        whenSettled()
        for loop in state.loops { loop.submit { $0.halt() } }
        for loop in state.loops { loop.join() }
        state.workers?.stop()

        var (carried, summary) = (Self.listeners(of: state), HandOverSummary())
        summary.listeners = carried.listenerCount
        let inbound = Dictionary(
            carried.namespaces.compactMap { namespace in
                namespace.listeners.last?.first.map { (namespace.inode, $0.address) }
            }, uniquingKeysWith: { first, _ in first })
        for loop in state.loops {
            carried.connections += loop.coreAfterEnd.carryAll(&summary, inboundListeners: inbound)
            carried.lastID = max(carried.lastID, loop.coreAfterEnd.settings.currentID)
        }
        carried.ejections = self.carriedEjections
        return carried.state(summary)
    }

    static func listeners(of state: State) -> CarriedState {
        var carried = CarriedState()
        carried.tunnels = state.tunnels
        carried.namespaces = state.namespaces.map { inode, open in
            CarriedNamespace(
                inode: inode, cookie: open.cookie, listeners: open.listeners, hasOutbound6: open.hasOutbound6,
                members: open.awaited.union(state.members.values.filter { $0.inode == inode }.map(\.id)))
        }
        carried.namespaces += state.adopted.values
        return carried
    }

    /// However busy peers are, handshakes are not waited for longer than this.
    package static let settleLimit = Duration.seconds(5)

    /// Waits until no loop is in the middle of a TLS handshake, as long as they end one after the other.
    private static func settle(_ loops: [EventLoop], patience: Duration) {
        let end = ContinuousClock.now + Self.settleLimit
        var (least, deadline) = (Int.max, end)
        while true {
            let (answered, count) = (Semaphore(), Counter())
            var asked = 0
            for loop in loops {
                let isTaken = loop.submit { core in
                    count.value.wrappingAdd(core.unsettled, ordering: .relaxed)
                    answered.signal()
                }
                if isTaken { asked += 1 }
            }
            for _ in 0..<asked { answered.wait() }
            let (left, now) = (count.value.load(ordering: .acquiring), ContinuousClock.now)
            if left < least { (least, deadline) = (left, min(end, now + patience)) }
            if left == 0 || now >= deadline { return }
            usleep(1000)
        }
    }

    private final class Counter: Sendable {
        let value = Atomic<Int>(0)
    }
}

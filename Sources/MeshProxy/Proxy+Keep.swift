// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshModel
import Synchronization

/// Copies for who keeps them in case this process dies.
extension Proxy {
    /// Numbers that connections may get after the copies were made.
    private static let idSlack: UInt64 = 1 << 20

    /// A state of the listeners that were carried, for who has to start without this process.
    static func listeners(_ carried: CarriedState, _ tunnels: [Listener]) -> ProxyState {
        var (bare, summary) = (CarriedState(), HandOverSummary())
        bare.lastID = carried.lastID + Self.idSlack
        bare.tunnels = tunnels
        bare.namespaces = carried.namespaces
        summary.listeners = bare.listenerCount
        return bare.state(summary)
    }

    /// Whether other established connections are worth keeping than at the last ``keptState(limit:)``.
    package func hasOthersToKeep() async -> Bool {
        for loop in self.loops {
            var next: UInt32? = 0
            while let from = next {
                guard let found = await loop.ask({ $0.survey(from: from) }) else { break }
                if found.isChanged { return true }
                next = found.next
            }
        }
        return false
    }

    /// A state of the listeners and of established connections that need nothing but the kernel, without a secret: what
    /// waits in the listeners' queues is then the next data plane's, and relays of which no byte was in this process at
    /// the end go on. Out of date with the next ``attach(_:key:namespace:isShared:)`` or ``detach(_:)``, and with the next
    /// connection that becomes worth keeping or ends.
    ///
    /// - Parameters:
    ///   - limit: connections that are kept at most.
    ///   - passing: workloads that the next data plane will not have: nothing of theirs is kept.
    /// - Returns: also how many connections there was no room for.
    package func keptState(limit: Int, without passing: Set<WorkloadID> = []) async -> (state: KeptState, left: Int) {
        // Not while a namespace is neither the former data plane's any more nor this one's yet.
        var carried = self.attaching.withLock { _ in Self.listeners(of: self.state.withLock { $0 }) }
        carried.namespaces.removeAll { !$0.members.isEmpty && $0.members.isSubset(of: passing) }
        var (summary, left) = (HandOverSummary(), 0)
        summary.listeners = carried.listenerCount
        for loop in self.loops {
            // First: a relay that is kept may hold any of them.
            guard let pipes = await loop.ask({ $0.keepPipes() }) ?? nil else { continue }
            carried.keptPipes.append(pipes)
            var next: UInt32? = 0
            while let from = next {
                let room = limit - carried.kept.count
                guard let part = await loop.ask({ $0.keep(from: from, room: room) }) else { break }
                carried.kept += part.relays
                left += part.left
                next = part.next
            }
            carried.lastID = max(carried.lastID, await loop.ask { $0.settings.currentID } ?? 0)
        }
        carried.lastID += Self.idSlack
        summary.carried = carried.kept.count
        return (KeptState(carried.state(summary)), left)
    }
}

/// A state that several may hold.
package final class KeptState: Sendable {
    package let state: ProxyState

    init(_ state: consuming ProxyState) { self.state = state }
}

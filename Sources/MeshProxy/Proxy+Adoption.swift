// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshModel
import Synchronization

/// Going on with another data plane's state.
extension Proxy {
    /// The listeners of a namespace that another data plane has opened, with further ones where this one has more loops.
    /// nil: there are none, or this one is to listen elsewhere.
    ///
    /// The caller runs it inside the namespace.
    func reopen(_ carried: CarriedNamespace) -> OpenNamespace? {
        var configured = [self.configuration.outboundListener, self.configuration.inboundListener]
        if carried.hasOutbound6 {
            guard let outbound6 = self.configuration.outboundListener6 else { return nil }
            configured.insert(outbound6, at: 1)
        }
        var lists: [[Listener]] = []
        for (list, wanted) in zip(carried.listeners, configured) {
            guard let first = list.first, Self.serves(first.address, wanted) else { return nil }
            lists.append(list + self.further(like: first, have: list.count))
        }
        guard let outbound = lists.first?.first, let inbound = lists.last else { return nil }
        return OpenNamespace(
            listeners: lists,
            addresses: WorkloadListeners(
                outbound: outbound.address, outbound6: carried.hasOutbound6 ? lists[1].first?.address : nil,
                inbound: inbound[0].address, inboundDescriptors: inbound.map { $0.descriptor.raw },
                outboundDescriptors: lists.dropLast().joined().map { $0.descriptor.raw }),
            cookie: carried.cookie, hasOutbound6: carried.hasOutbound6, awaited: carried.members, isAccepting: false)
    }

    /// Whether a listener is where the configuration wants one.
    static func serves(_ address: SocketAddress, _ wanted: SocketAddress) -> Bool {
        wanted.port == 0 || wanted.port == address.port
    }

    /// Listeners for the loops that have none: they share the port, and none if that fails.
    func further(like listener: Listener, have count: Int) -> [Listener] {
        let missing = self.configuration.loops - count
        if missing <= 0 { return [] }
        return (try? self.openListeners(listener.kind, at: listener.address, count: missing)) ?? []
    }

    /// Lets a namespace's listeners accept, once.
    func beginAccepting(_ inode: UInt64) {
        let begun = self.state.withLock { state -> (OpenNamespace, [EventLoop])? in
            guard var open = state.namespaces[inode], !open.isAccepting else { return nil }
            open.isAccepting = true
            open.awaited = []
            state.namespaces[inode] = open
            return (open, state.loops)
        }
        guard let (open, loops) = begun else { return }
        for (index, loop) in loops.enumerated() {
            let listeners = open.listeners(ofLoop: index, of: loops.count)
            loop.submit { core in
                for listener in listeners { core.addListener(listener) }
                core.beginCaptured(in: inode)
            }
        }
    }

    /// Lets the tunnel listeners accept, once: a peer names a workload, and which there are is known now.
    func beginAcceptingTunnels() {
        let (loops, tunnels, isFirst) = self.state.withLock { state in
            defer { state.isAcceptingTunnels = true }
            return (state.loops, state.tunnels, !state.isAcceptingTunnels)
        }
        if !isFirst { return }
        for (index, loop) in loops.enumerated() {
            let listeners = tunnels.enumerated().filter { $0.offset % loops.count == index }.map(\.element)
            loop.submit { core in
                for listener in listeners { core.addListener(listener) }
                core.beginSecuring()
            }
        }
    }

    /// A workload is attached. Nothing is accepted before all that the former data plane had are so again: a connection
    /// may be one of theirs, or to one of them.
    func arrived(_ id: WorkloadID, in inode: UInt64) {
        let complete = self.state.withLock { state -> [UInt64]? in
            state.namespaces[inode]?.awaited.remove(id)
            let isComplete = state.adopted.isEmpty && state.namespaces.values.allSatisfy(\.awaited.isEmpty)
            return isComplete ? Array(state.namespaces.keys) : nil
        }
        guard let complete else { return }
        for inode in complete { self.beginAccepting(inode) }
        self.beginAcceptingTunnels()
    }

    /// Says that all workloads there are have been attached and the first view is here: what still waits begins, and what
    /// nobody has claimed is closed with reason `workload_gone`.
    ///
    /// - Returns: what was closed.
    @discardableResult
    package func adoptionComplete() async -> HandOverSummary {
        var (summary, loops) = self.attaching.withLock { _ in
            let (namespaces, left, loops) = self.state.withLock { state in
                defer { state.adopted = [:] }
                return (Array(state.namespaces.keys), state.adopted, state.loops)
            }
            for inode in namespaces { self.beginAccepting(inode) }
            self.beginAcceptingTunnels()
            var summary = HandOverSummary()
            let count = left.values.reduce(0) { $0 + $1.listeners.joined().count }
            if count > 0 { summary.closed["listeners of a namespace whose workloads are gone"] = count }
            return (summary, loops)
        }
        for loop in loops {
            let closed = await loop.ask { $0.completeAdoption().closed } ?? [:]
            summary.closed.merge(closed, uniquingKeysWith: +)
        }
        return summary
    }
}

extension Proxy.OpenNamespace {
    /// A loop may have several of a kind, where another data plane had more loops.
    func listeners(ofLoop index: Int, of count: Int) -> [Listener] {
        self.listeners.flatMap { list in
            list.enumerated().filter { $0.offset % count == index }.map(\.element)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import Synchronization

/// Workloads come and go; those of one network namespace share its listeners.
extension Proxy {
    /// Begins to carry a workload's connections. The first one of a namespace has the capture listeners opened in it,
    /// which blocks for some milliseconds.
    ///
    /// Attaching a workload again, with the same key, only says anew whether its namespace is shared.
    ///
    /// - Parameters:
    ///   - key: the number under which eBPF knows the workload; unique among attached ones.
    ///   - namespace: nil means the process's own.
    ///   - isShared: others may live in the namespace, so an inbound connection is the workload's only if the kernel
    ///     says so (see ``ProxyHooks/inboundOrigin`` and ``ProxyHooks/portOwner``).
    /// - Returns: where connections are accepted, with the inbound sockets' descriptors, one per loop, for the eBPF
    ///   side. They stay the proxy's and live until the namespace's last workload leaves.
    @discardableResult
    package func attach(
        _ id: WorkloadID, key: UInt32, namespace: NetworkNamespace?, isShared: Bool = false
    ) throws(ProxyError) -> WorkloadListeners {
        try self.attaching.withLock { (_: inout Void) throws(ProxyError) -> WorkloadListeners in
            try self.attachAlone(id, key: key, namespace: namespace, isShared: isShared)
        }
    }

    private func attachAlone(
        _ id: WorkloadID, key: UInt32, namespace given: NetworkNamespace?, isShared: Bool
    ) throws(ProxyError) -> WorkloadListeners {
        let (loops, host) = self.state.withLock { ($0.loops, $0.hostInode) }
        if loops.isEmpty { throw ProxyError("the data plane does not run") }
        let inode = given?.inode ?? host
        // A thread is in the process's own namespace without being moved there.
        let namespace = inode == host ? nil : given
        let (known, member, slot) = self.state.withLock { ($0.namespaces[inode], $0.members[id], $0.freeSlot) }
        if let member {
            guard let known, member.key == key, member.inode == inode else {
                throw ProxyError("workload \(id) is attached already")
            }
            member.isShared = isShared
            return known.addresses
        }
        guard let slot else { throw ProxyError("there are \(UInt16.max) workloads already") }
        let open: OpenNamespace
        do throws(ProxyError) {
            open = if let known { known } else { try self.open(namespace, inode: inode) }
        } catch {
            throw ProxyError("cannot take the connections of workload \(id): \(error)")
        }
        let workload = LocalWorkload(
            id: id, key: key, slot: slot, namespace: namespace, inode: inode, cookie: open.cookie,
            isShared: isShared)
        self.state.withLock { state in
            state.namespaces[inode] = open
            state.members[id] = workload
        }
        for (index, loop) in loops.enumerated() {
            let isNew = known == nil && open.isAccepting
            let listeners = isNew ? open.listeners(ofLoop: index, of: loops.count) : []
            loop.submit { core in
                core.workloads[id] = workload
                core.workloadsByName[Self.serverName(id)] = workload
                core.workloadsByKey[key] = workload
                core.workloadsByNamespace[inode, default: []].append(workload)
                workload.usage.update(core.view?.snapshot.workload(id)?.limits)
                for listener in listeners { core.addListener(listener) }
                core.claim(workload)
            }
        }
        self.arrived(id, in: inode)
        return open.addresses
    }

    /// Closes a workload's connections with reason `workload_gone`, and with the last one of its namespace the
    /// listeners.
    package func detach(_ id: WorkloadID) {
        self.attaching.withLock { _ in
            let (loops, left, listeners) = self.state.withLock { state -> ([EventLoop], UInt64?, [Listener]) in
                guard let inode = state.members.removeValue(forKey: id)?.inode else { return (state.loops, nil, []) }
                if state.members.values.contains(where: { $0.inode == inode }) { return (state.loops, nil, []) }
                let open = state.namespaces.removeValue(forKey: inode)
                return (state.loops, inode, open.map { Array($0.listeners.joined()) } ?? [])
            }
            // Copies that somebody keeps for the next data plane must not take a share of what others would accept.
            for listener in listeners { Linux.stopListening(listener.descriptor.raw) }
            for loop in loops {
                loop.submit { core in
                    core.forget(id)
                    if let left { core.removeListeners(of: left) }
                    core.retireTunnels { $0.workload?.id == id }
                    core.closeAll(.workloadGone) {
                        !$0.isQuiet
                            && ($0.workload?.id == id || $0.policyWorkload == id
                                || $0.record.wire == .local && $0.record.source == id)
                    }
                }
            }
        }
    }

    // MARK: - Listeners

    private func open(_ namespace: NetworkNamespace?, inode: UInt64) throws(ProxyError) -> OpenNamespace {
        let (outbound, inbound) = (self.configuration.outboundListener, self.configuration.inboundListener)
        let outbound6 = self.configuration.outboundListener6
        let carried = self.state.withLock { $0.adopted.removeValue(forKey: inode) }
        // Which one it was, for the error.
        let open: @Sendable () throws(SystemError) -> Result<OpenNamespace, ProxyError> = { () throws(SystemError) in
            if let carried, let open = self.reopen(carried) { return .success(open) }
            var address = outbound
            do throws(SystemError) {
                let captured = try self.openListeners(.outbound(inode), at: outbound)
                var captured6: [Listener] = []
                if let outbound6 {
                    address = outbound6
                    captured6 = try self.openListenersIfPossible(.outbound(inode), at: outbound6)
                }
                address = inbound
                let steered = try self.openListeners(.inbound(inode), at: inbound)
                guard let first = captured.first, let firstInbound = steered.first else {
                    return .failure(ProxyError("the data plane does not run"))
                }
                return .success(
                    OpenNamespace(
                        listeners: [captured, captured6, steered].filter { !$0.isEmpty },
                        addresses: WorkloadListeners(
                            outbound: first.address, outbound6: captured6.first?.address,
                            inbound: firstInbound.address, inboundDescriptors: steered.map { $0.descriptor.raw },
                            outboundDescriptors: (captured + captured6).map { $0.descriptor.raw }),
                        cookie: try Linux.namespaceCookie(ofSocket: first.descriptor.raw),
                        hasOutbound6: !captured6.isEmpty))
            } catch {
                return .failure(Self.explain(error, at: address))
            }
        }
        let result: Result<OpenNamespace, ProxyError>
        do throws(SystemError) {
            result = if let namespace { try namespace.run(open) } else { try open() }
        } catch {
            throw ProxyError("its network namespace cannot be entered: \(error)")
        }
        return try result.get()
    }

    private static func explain(_ error: SystemError, at address: SocketAddress) -> ProxyError {
        if error.errno == EADDRINUSE {
            return ProxyError(
                """
                another program of its network namespace listens on port \(address.port), which nodemesh needs at \
                \(address); see `ss -ltnp 'sport = :\(address.port)'` there and move that program to another port
                """)
        }
        return ProxyError("cannot listen at \(address) in its network namespace: \(error)")
    }

    /// One listener per loop, all on one port. `::` becomes 0.0.0.0 where there is no IPv6.
    func openListeners(
        _ kind: Listener.Kind, at address: SocketAddress, count: Int? = nil
    ) throws(SystemError) -> [Listener] {
        var endpoint = Endpoint(address)
        return try (0..<(count ?? self.configuration.loops)).map { _ throws(SystemError) in
            var socket: FileDescriptor
            do throws(SystemError) {
                socket = try Linux.tcpListener(at: endpoint)
            } catch {
                guard error.saysNoIPv6, endpoint.family == .ipv6, endpoint.isUnspecified else { throw error }
                endpoint = Endpoint(ipv4: 0, port: endpoint.port)
                socket = try Linux.tcpListener(at: endpoint)
            }
            // Accepted sockets inherit both.
            try Linux.setNoDelay(socket.raw)
            try self.configuration.setKeepAlive(socket.raw)
            endpoint = try Linux.localEndpoint(socket.raw)
            return Listener(kind: kind, descriptor: socket, address: SocketAddress(endpoint))
        }
    }

    /// None where there is no IPv6.
    private func openListenersIfPossible(
        _ kind: Listener.Kind, at address: SocketAddress
    ) throws(SystemError) -> [Listener] {
        do throws(SystemError) {
            return try self.openListeners(kind, at: address)
        } catch {
            if error.saysNoIPv6 { return [] }
            throw error
        }
    }
}

extension SystemError {
    /// The kernel has no IPv6, or it is disabled on the interfaces of the namespace.
    fileprivate var saysNoIPv6: Bool { self.errno == EAFNOSUPPORT || self.errno == EADDRNOTAVAIL }
}

extension Proxy.State {
    /// The least number that no workload has, from 1 on.
    fileprivate var freeSlot: UInt16? {
        let used = Set(self.members.values.map(\.slot))
        return (1...UInt16.max).first { !used.contains($0) }
    }
}

extension LoopCore {
    fileprivate func forget(_ id: WorkloadID) {
        guard let workload = self.workloads.removeValue(forKey: id) else { return }
        self.workloadsByName[Proxy.serverName(id)] = nil
        self.workloadsByKey[workload.key] = nil
        self.workloadsByNamespace[workload.inode]?.removeAll { $0 === workload }
        if self.workloadsByNamespace[workload.inode]?.isEmpty == true {
            self.workloadsByNamespace[workload.inode] = nil
        }
    }

    fileprivate func removeListeners(of inode: UInt64) {
        for (key, listener) in self.listeners {
            switch listener.kind {
            case .outbound(inode), .inbound(inode): self.removeListener(key)
            case .outbound, .inbound, .tunnel: break
            }
        }
    }
}

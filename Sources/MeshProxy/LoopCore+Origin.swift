// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshModel

/// Whose connection it is that a capture listener accepted, and what its client dialled. Listeners belong to a network
/// namespace, so with several workloads in it only the kernel can tell.
extension LoopCore {
    /// The workload that has a namespace for itself.
    func onlyWorkload(in inode: UInt64) -> LocalWorkload? {
        guard let all = self.workloadsByNamespace[inode], all.count == 1, !all[0].isShared else { return nil }
        return all[0]
    }

    /// A workload by its key, if it lives in that namespace.
    private func workload(key: UInt32, in inode: UInt64) -> LocalWorkload? {
        guard let workload = self.workloadsByKey[key], workload.inode == inode else { return nil }
        return workload
    }

    /// Finds workload and destination of a captured connection, once.
    ///
    /// - Returns: whether they are known; if not, the connection was ended.
    func identify(_ connection: Connection) -> Bool {
        if connection.workload != nil { return true }
        switch connection.machine.origin {
        case .capturedOutbound: return self.identifyOutbound(connection)
        case .capturedInbound: return self.identifyInbound(connection)
        case .tunnel, .pool: return true
        }
    }

    private func identifyOutbound(_ connection: Connection) -> Bool {
        guard let setup = connection.setup else { return false }
        guard let origin = self.settings.hooks.originalDestination(self.sides[connection.index].pointee.fd) else {
            connection.record.source = self.onlyWorkload(in: setup.namespace)?.id
            self.fail(
                connection, .originalDestinationMissing,
                "the kernel has no record of the destination; connections to the capture port itself are refused")
            return false
        }
        connection.record.destination = origin.address
        // Whose process strays into another namespace has neither its addresses nor the identity that lives there.
        guard let workload = self.workload(key: origin.workload, in: setup.namespace) else {
            self.fail(
                connection, .originalDestinationMissing,
                "the client's workload does not live in the network namespace that it connects from")
            return false
        }
        connection.workload = workload
        connection.record.source = workload.id
        self.noteIdentified(connection)
        return true
    }

    private func identifyInbound(_ connection: Connection) -> Bool {
        guard let setup = connection.setup else { return false }
        let fd = self.sides[connection.index].pointee.fd
        guard let own = try? Linux.localEndpoint(fd) else {
            self.fail(connection, .originalDestinationMissing, "the socket has no address of its own")
            return false
        }
        let dialled = self.settings.hooks.inboundDestination?(fd) ?? SocketAddress(own)
        setup.scope = own.scope
        // The listener's own port: nobody was steered here, and dialling on would come back here.
        let isOwnPort = dialled.port == connection.record.destination.port
        connection.record.destination = dialled
        if MeshPorts.isReserved(dialled.port) || isOwnPort {
            connection.record.destinationWorkload = self.onlyWorkload(in: setup.namespace)?.id
            self.fail(connection, .selfCall, "the port belongs to the mesh itself; dial the application's port")
            return false
        }
        let origin = self.settings.hooks.inboundOrigin(fd)
        let workload =
            if let origin { self.workload(key: origin.workload, in: setup.namespace) } else {
                self.onlyWorkload(in: setup.namespace)
            }
        guard let workload else {
            self.fail(
                connection, .originalDestinationMissing,
                "the kernel has no record of whose port this is, and several workloads may share the address")
            return false
        }
        connection.workload = workload
        connection.record.destinationWorkload = workload.id
        if let key = origin?.source {
            // A client that the kernel takes for a workload never counts as nobody.
            guard let source = self.workload(key: key, in: setup.namespace) else {
                self.fail(connection, .workloadGone, "the client's workload is not enrolled on this node any more")
                return false
            }
            setup.source = source
            connection.record.source = source.id
            connection.record.wire = .local
        }
        self.noteIdentified(connection)
        return true
    }

    /// The workload that listens on a port of the namespace which `workload` shares with it; nil: none does.
    func owner(of port: UInt16, sharing workload: LocalWorkload, _ view: ProxyView) -> LocalWorkload? {
        if let ask = self.settings.hooks.portOwner {
            return ask(workload.cookie, port).flatMap { self.workload(key: $0, in: workload.inode) }
        }
        return self.workloadsByNamespace[workload.inode]?.first {
            view.snapshot.workload($0.id)?.ports.contains(port) == true
        }
    }

    /// Whether a port is the workload's: another one that shares its address has policies of its own. If not, the
    /// connection was ended.
    func ownsPort(_ workload: LocalWorkload, _ port: UInt16, _ connection: Connection, _ view: ProxyView) -> Bool {
        if !workload.isShared || self.owner(of: port, sharing: workload, view) === workload { return true }
        self.fail(connection, .connectRefused, "workload \(workload.id) does not listen on port \(port)")
        return false
    }
}

extension SocketAddress {
    /// What an application of that family is shown of a client that dialled a service's address of the other family:
    /// an address of the client's in its own family if it has one. An IPv4 client of an IPv6 application shows as
    /// `::ffff:a.b.c.d`, as on any dual-stack socket; an IPv6 client of an IPv4 application as ``dummy``.
    func shown(to server: IPAddress, of workload: Workload?) -> SocketAddress {
        let address = self.inFamily(of: server, of: workload)
        return server.isIPv4 && !address.ip.isIPv4 ? SocketAddress(ip: Self.dummy, port: self.port) : address
    }

    /// The client's address in a server's family, or the one it has.
    func inFamily(of server: IPAddress, of workload: Workload?) -> SocketAddress {
        if self.ip.isIPv4 == server.isIPv4 { return self }
        let own = workload?.addresses.first { $0.isIPv4 == server.isIPv4 }
        return own.map { SocketAddress(ip: $0, port: self.port) } ?? self
    }

    /// 192.0.0.8, the address of a sender that has no IPv4 address (RFC 7600 §4.8): nobody's, so that no application
    /// trusts it for its own.
    private static var dummy: IPAddress { IPAddress(ipv4: 0xc000_0008) }
}

// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshModel
import MeshTunnel
import Synchronization

/// Tunnels without a connection. A tunnel that a connection has left in good order carries the next one between the
/// same two workloads, and where connections come often one is made in advance; so most connections need no handshake.
/// Policy is asked for each connection as ever.
extension LoopCore {
    // MARK: - Where a tunnel leads

    /// What is kept for tunnels from a local workload to one of another node.
    func tunnelDestination(
        from source: WorkloadID, as identity: TLSIdentity, to destination: WorkloadID, at address: SocketAddress,
        expecting expected: SPIFFEID
    ) -> TunnelDestination {
        let key = TunnelDestination.Key(
            source: source, destination: destination, address: address, identity: ObjectIdentifier(identity),
            expected: expected)
        let now = self.now
        let found = self.destinations.destination(key, now: now) {
            TunnelDestination(key: key, identity: identity, now: now)
        }
        found.uses += 1
        found.lastUse = now
        return found
    }

    // MARK: - Taking

    /// Gives a connection that is to dial a tunnel which stands ready.
    ///
    /// - Returns: whether there was one.
    func takeTunnel(_ connection: Connection, _ destination: TunnelDestination) -> Bool {
        let wall = Int64(Clock.wall / 1_000_000_000)
        while let idle = destination.idle.popLast() {
            guard let session = idle.session, session.notAfter > wall else {
                self.close(idle, .idleTimeout)
                continue
            }
            idle.session = nil
            connection.tcpBase = idle.tcpBase
            let isMoved = self.move(idle, idle.server, to: connection.server)
            self.close(idle, .completed)
            if !isMoved { continue }
            self.statistics.tunnelsReused += 1
            connection.session = session
            connection.setup?.isReused = true
            self.setDeadline(connection, after: self.configuration.handshakeTimeout.nanoseconds)
            self.perform(connection.machine.reused(), connection)
            return true
        }
        return false
    }

    /// Moves a tunnel's socket, and what was read of it, to the side of another connection.
    ///
    /// - Returns: false when the kernel does not watch it there; the socket is closed then.
    private func move(_ old: Connection, _ from: UInt32, to index: UInt32) -> Bool {
        let (source, target) = (self.sides[from], self.sides[index])
        target.pointee.fd = source.pointee.fd
        target.pointee.flags = source.pointee.flags.intersection([
            .readable, .writable, .hangUp, .failed, .tunnel, .exactReads,
        ])
        target.pointee.block = source.pointee.block
        source.pointee.fd = -1
        source.pointee.block = nil
        do throws(SystemError) {
            // What happened in between is told again.
            try self.epoll.modify(target.pointee.fd, .stream, data: self.eventData(index))
            return true
        } catch {
            self.closeSide(index, isOrderly: false)
            return false
        }
    }

    // MARK: - Giving back

    /// A connection has ended in good order. If its tunnel can carry another one, it is taken from the connection.
    func recycle(_ connection: Connection) {
        guard let session = connection.session, session.isReusable, !connection.isQuiet, !self.isStopping,
            !self.isDraining
        else { return }
        let isOurs = connection.destination != nil
        let index = isOurs ? connection.server : connection.index
        let side = self.sides[index]
        guard side.pointee.fd >= 0, side.pointee.flags.isSuperset(of: [.tunnel, .ended]),
            side.pointee.flags.isDisjoint(with: [.closeReceived, .failed, .hangUp]),
            session.notAfter > Int64(Clock.wall / 1_000_000_000)
        else { return }
        // Adopted, and its workload is not attached again yet: nobody could judge the tunnel's next connection.
        guard connection.workload != nil else {
            self.sayGoodbye(connection, index)
            return
        }
        if isOurs { self.keepDialled(connection, index) } else { self.keepAccepted(connection, index) }
    }

    private func keepDialled(_ connection: Connection, _ index: UInt32) {
        guard let destination = connection.destination, let workload = connection.workload,
            self.view?.identities[workload.id] === destination.identity,
            // The server does not speak first: bytes behind its end are not of this protocol.
            self.sides[index].pointee.block == nil,
            destination.idle.count < self.configuration.tunnelPool.maxIdlePerDestination, self.makeIdleRoom()
        else { return }
        let idle = self.quietConnection(.pool, like: connection)
        idle.destination = destination
        if self.move(connection, index, to: idle.server) {
            self.keep(idle, destination)
        } else {
            self.close(idle, .resourceExhausted)
        }
    }

    func keep(_ idle: Connection, _ destination: TunnelDestination) {
        idle.setup = nil
        destination.idle.append(idle)
        self.setDeadline(idle, after: self.configuration.tunnelPool.idleTimeout.nanoseconds)
    }

    private func keepAccepted(_ connection: Connection, _ index: UInt32) {
        guard self.makeIdleRoom() else { return }
        let idle = self.quietConnection(.tunnel, like: connection)
        if self.move(connection, index, to: idle.index) {
            self.awaitRequest(idle)
        } else {
            self.close(idle, .resourceExhausted)
        }
    }

    /// A connection that nobody sees: a tunnel's place while it waits.
    private func quietConnection(_ origin: SetupStateMachine.Origin, like old: Connection) -> Connection {
        self.settings.connectionCount.add(1, ordering: .relaxed)
        let connection = self.makeConnection(
            machine: SetupStateMachine(recycledFor: origin),
            record: ConnectionRecord(
                id: 0, direction: old.record.direction, sourceAddress: old.record.sourceAddress,
                destination: old.record.destination, wire: .splice, openedAt: 0),
            workload: old.workload)
        self.quiet(connection)
        connection.tcpBase = old.tcpBase
        connection.session = old.session
        old.session = nil
        return connection
    }

    /// From now on telemetry does not see the connection.
    func quiet(_ connection: Connection) {
        connection.isQuiet = true
        self.quietCount += 1
    }

    /// From now on it does.
    func unquiet(_ connection: Connection) {
        if !connection.isQuiet { return }
        connection.isQuiet = false
        self.quietCount -= 1
        connection.record.id = self.settings.nextID()
        connection.record.openedAt = Clock.wall
        connection.began = Clock.monotonic
    }

    // MARK: - Waiting

    /// A peer node's tunnel has no connection now; its next CONNECT may be here.
    func awaitRequest(_ connection: Connection) {
        let timeout = self.configuration.tunnelPool.idleTimeout.nanoseconds
        // The dialling node is to be the first to tire of it: it knows when it sends a CONNECT.
        self.setDeadline(connection, after: timeout + timeout / 4)
        if !connection.isQuiet { self.quiet(connection) }
        connection.isAwaitingFirstByte = true
        self.makeReady(connection)
    }

    /// Something happened at a dialled tunnel that stands ready: a ticket, or its end.
    func pooledEvent(_ connection: Connection) {
        guard let session = connection.session else { return }
        do throws(RelayFailure) {
            if case .blocked = try self.fill(connection.server, session) { return }
        } catch {}
        self.close(connection, .completed)
    }

    /// The time of a tunnel without a connection is over.
    func tunnelTired(_ connection: Connection) {
        if connection.machine.origin == .tunnel {
            self.perform(connection.machine.retired(), connection)
            return
        }
        self.sayGoodbye(connection, connection.server)
        self.close(connection, .completed)
    }

    /// Sends close_notify if the socket takes it at once.
    private func sayGoodbye(_ connection: Connection, _ index: UInt32) {
        guard let session = connection.session, self.sides[index ^ 1].pointee.block == nil else { return }
        let block = self.blocks.takeSmall()
        defer { self.blocks.give(block) }
        guard let count = try? session.sealCloseNotify(block.pointee.base, pool: &self.contexts) else { return }
        _ = try? Linux.send(self.sides[index].pointee.fd, block.pointee.base, count)
    }

    // MARK: - Making in advance

    /// Begins a tunnel for a connection to come, where connections come often and none stands ready.
    func replenish(_ destination: TunnelDestination, like target: Connection.Target) {
        let pool = self.configuration.tunnelPool
        guard pool.isReused, pool.makesSpare, destination.uses > 1, destination.idle.isEmpty,
            destination.beingMade == 0,
            let tunnel = target.tunnel, let source = self.workloads[destination.key.source], !self.isStopping,
            !self.isDraining, !self.isFreezing, self.makeIdleRoom()
        else { return }
        self.settings.connectionCount.add(1, ordering: .relaxed)
        let connection = self.makeConnection(
            machine: SetupStateMachine(origin: .pool, extraAttempts: 0),
            record: ConnectionRecord(
                id: 0, direction: .outbound, sourceAddress: target.address, destination: target.address, wire: .splice,
                openedAt: 0),
            workload: source)
        self.quiet(connection)
        connection.destination = destination
        connection.setup?.target = Connection.Target(
            address: target.address, from: nil, markedClient: nil, tunnel: tunnel)
        destination.beingMade += 1
        connection.isBeingMade = true
        self.perform(connection.machine.resolved(), connection)
    }

    /// A tunnel made in advance stands ready.
    func pool(_ connection: Connection) {
        guard let destination = connection.destination else { return }
        self.noLongerMade(connection)
        // The end of the handshake still has to go out.
        guard (try? self.flush(toward: connection.server)) == true else {
            self.close(connection, .connectFailed)
            return
        }
        self.statistics.tunnelsPrepared += 1
        self.keep(connection, destination)
        self.pooledEvent(connection)
    }

    func noLongerMade(_ connection: Connection) {
        if !connection.isBeingMade { return }
        connection.isBeingMade = false
        connection.destination?.beingMade -= 1
    }

    // MARK: - Bounds

    /// Makes room for one more tunnel without a connection.
    ///
    /// - Returns: whether there is.
    private func makeIdleRoom() -> Bool {
        self.quietCount < self.configuration.tunnelPool.maxIdle
            && self.settings.connectionCount.load(ordering: .relaxed) * 8 < self.maxConnections * 7
    }

    /// Closes every tunnel without a connection for which `isMeant`.
    func retireTunnels(where isMeant: (Connection) -> Bool) {
        var meant: [Connection] = []
        self.forEachConnection { if $0.isQuiet, isMeant($0) { meant.append($0) } }
        for connection in meant {
            switch connection.machine.state {
            case .pooled, .awaitingRequest: self.tunnelTired(connection)
            case .securingClient, .resolving, .awaitingIdentity, .dialing, .securingServer, .awaitingAnswer,
                .relaying, .refusing, .closed:
                self.close(connection, .completed)
            }
        }
    }

    /// Drops what rests on certificates that are not this node's any more.
    func dropStaleDestinations(_ view: ProxyView) {
        self.retireTunnels { connection in
            guard let workload = connection.workload?.id else { return false }
            guard let identity = view.identities[workload] else { return true }
            if let destination = connection.destination { return destination.identity !== identity }
            return false
        }
        self.destinations.removeAll { view.identities[$0.key.source] !== $0.identity }
    }
}

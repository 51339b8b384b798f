// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshTunnel
import Synchronization

/// Taking the connections out of a loop, so that another data plane can go on with them.
extension LoopCore {
    /// From now on nothing is accepted, and no TLS handshake begins; what was accepted waits in the listeners' queues for
    /// the next data plane.
    func beginFreeze() {
        self.isFreezing = true
        for id in self.listeners.keys { self.removeListener(id) }
    }

    /// Peers' connections that were answered in their TLS handshake, or are being: the next data plane can neither go on
    /// with them nor begin them anew, so they are worth waiting for.
    var unsettled: Int {
        var count = 0
        self.forEachConnection { connection in
            guard case .securingClient = connection.machine.state, let pending = connection.setup?.handshake else {
                return
            }
            if pending.isBusy || pending.unanswered == nil { count += 1 }
        }
        return count
    }

    /// Takes every connection out; what cannot go on is closed with reason `shutdown`. The loop has ended.
    ///
    /// - Parameter inboundListeners: by the inode of their namespaces.
    func carryAll(
        _ summary: inout HandOverSummary, inboundListeners: [UInt64: SocketAddress]
    ) -> [CarriedConnection] {
        self.now = Clock.monotonic
        self.pipes.ledger.end()
        var (all, carried): ([Connection], [CarriedConnection]) = ([], [])
        self.forEachConnection { all.append($0) }
        // Those that begin anew do so in the order in which they came, or some would never be done when one hand-over
        // follows the other.
        all.sort { $0.record.id < $1.record.id }
        for connection in all {
            if let one = self.carry(connection, inboundListeners) {
                switch one.stage {
                case .captured, .securing: summary.restarted += 1
                case .waiting, .pooled: if one.isQuiet { summary.tunnels += 1 } else { summary.restarted += 1 }
                case .asking, .relaying: summary.carried += 1
                }
                carried.append(one)
                self.forget(connection)
                continue
            }
            let why: String? =
                switch connection.machine.state {
                case .securingClient, .awaitingIdentity: "in the middle of a TLS handshake"
                // These have ended already, or nobody waits for them.
                case .refusing, .closed, .pooled, .dialing, .securingServer, .resolving: nil
                case .awaitingRequest, .awaitingAnswer, .relaying: "not to be carried"
                }
            if let why, !connection.isQuiet {
                summary.close(why)
                connection.record.detail = "the daemon was replaced while the connection was \(why)"
            }
            self.close(connection, .shutdown)
        }
        return carried
    }

    /// How far a connection is; nil: it cannot be carried.
    private func stage(of connection: Connection) -> CarriedConnection.Stage? {
        switch connection.machine.state {
        case .relaying: .relaying
        case .pooled: connection.destination == nil && connection.adopted?.destination == nil ? nil : .pooled
        case .awaitingRequest: .waiting
        case .securingClient, .awaitingIdentity(isServerHandshake: true):
            connection.setup?.handshake?.unanswered == nil ? nil : .securing
        case .resolving, .awaitingIdentity(isServerHandshake: false), .dialing, .securingServer:
            // Nothing has reached a server.
            switch connection.machine.origin {
            case .capturedOutbound, .capturedInbound: .captured
            case .tunnel: connection.setup?.requested == nil ? nil : .waiting
            case .pool: nil
            }
        case .awaitingAnswer: .asking
        case .refusing, .closed: nil
        }
    }

    private func carry(_ connection: Connection, _ inboundListeners: [UInt64: SocketAddress]) -> CarriedConnection? {
        guard let stage = self.stage(of: connection) else { return nil }
        let carried = CarriedConnection(stage, origin: connection.machine.origin, record: connection.record)
        let (adopted, setup) = (connection.adopted, connection.setup)
        carried.workload = connection.workload?.id ?? adopted?.workload
        carried.isQuiet = connection.isQuiet
        carried.quietFor = self.now - min(self.now, connection.activity)
        carried.deadlineLeft =
            connection.deadline == 0
            ? adopted?.deadlineLeft ?? 0 : max(1, connection.deadline - min(self.now, connection.deadline))
        carried.namespace = setup?.namespace ?? 0
        switch stage {
        case .captured:
            let fd = self.sides[connection.index].pointee.fd
            guard let peer = try? Linux.peerEndpoint(fd), let own = try? Linux.localEndpoint(fd) else { return nil }
            let listener = inboundListeners[carried.namespace]
            carried.workload = nil
            carried.record = ConnectionRecord(
                id: connection.record.id, direction: connection.record.direction, sourceAddress: SocketAddress(peer),
                destination: connection.machine.origin == .capturedInbound
                    ? listener ?? SocketAddress(own) : SocketAddress(own),
                openedAt: connection.record.openedAt)
            // What was read of it is still in its socket.
            self.giveBack(connection.index)
            self.closeSide(connection.server, isOrderly: false)
        case .securing:
            carried.head = setup?.handshake?.unanswered ?? []
            carried.workload = nil
        case .waiting:
            carried.head = adopted?.head ?? setup?.requested?.encoded ?? setup?.request.bytes ?? []
            // What waits for the tunnel lies with the server's side and stays.
            let server = self.sides[connection.server]
            if server.pointee.fd >= 0 { Linux.reset(server.pointee.fd) }
            server.pointee.fd = -1
        case .asking:
            carried.head = setup?.response.bytes ?? []
            carried.earlyCount = setup?.earlyCount ?? 0
        case .relaying, .pooled: break
        }
        if stage == .relaying || stage == .asking { self.describe(connection, in: carried) }
        if stage != .captured {
            carried.destination =
                connection.destination.map(CarriedConnection.Destination.init) ?? adopted?.destination
            carried.session = connection.session
        }
        carried.client = self.carrySide(connection.index)
        carried.server = self.carrySide(connection.server)
        carried.kernel = connection.kernel
        return carried
    }

    /// What the next data plane has to know of an established connection besides its sockets.
    func describe(_ connection: Connection, in carried: CarriedConnection) {
        let (adopted, traffic) = (connection.adopted, connection.traffic)
        carried.countsForWorkload = traffic.usage != nil || adopted?.countsForWorkload == true
        let isOutbound = connection.machine.origin == .capturedOutbound
        carried.other =
            traffic.destinationUsage == nil
            ? adopted?.other : isOutbound ? connection.record.destinationWorkload : connection.record.source
        carried.endpoint =
            traffic.endpoint.map { .init(workload: $0.key.workload, address: $0.key.address) } ?? adopted?.endpoint
        carried.policyInput = connection.policyInput
        carried.policyWorkload = connection.policyWorkload
        carried.isHalfClosed = connection.isHalfClosed
    }

    private func carrySide(_ index: UInt32) -> CarriedSide {
        let side = self.sides[index]
        var carried = CarriedSide()
        carried.descriptor = side.pointee.fd
        side.pointee.fd = -1
        carried.flags = side.pointee.flags.intersection(CarriedSide.lasting)
        carried.bytes = side.pointee.bytes - UInt64(side.pointee.spilled)
        if let block = side.pointee.block?.pointee {
            carried.sendable = Self.bytes(block.base, block.start, block.end)
            for range in block.firstRange..<max(block.firstRange, block.rangeCount) {
                carried.opened += UnsafeRawBufferPointer(
                    start: block.vector[range].iov_base, count: block.vector[range].iov_len)
            }
            carried.tail = Self.bytes(block.base, block.tailStart, block.tailEnd)
        }
        if side.pointee.pipe >= 0, side.pointee.bytesInPipe > 0 {
            let ends = self.pipes.release(side.pointee.pipe)
            carried.pipe = CarriedSide.Pipe(read: ends.read, write: ends.write, count: side.pointee.bytesInPipe)
            side.pointee.pipe = -1
            side.pointee.bytesInPipe = 0
            side.pointee.spilled = 0
        }
        self.giveBack(index)
        return carried
    }

    private static func bytes(_ base: UnsafeMutableRawPointer, _ start: Int, _ end: Int) -> [UInt8] {
        start < end ? Array(UnsafeRawBufferPointer(start: base + start, count: end - start)) : []
    }

    /// Lets go of a connection that lives on elsewhere: telemetry hears nothing of it.
    private func forget(_ connection: Connection) {
        // A tunnel and its destination keep each other alive.
        connection.destination?.idle.removeAll()
        connection.destination = nil
        connection.setup = nil
        connection.session = nil
        if connection.isQuiet { self.quietCount -= 1 }
        for index in [connection.index, connection.server] {
            self.sides[index].pointee.generation &+= 1
            self.sides[index].pointee.connection?.release()
            self.sides[index].pointee.connection = nil
        }
        self.sides.give(connection.index)
        self.settings.connectionCount.subtract(1, ordering: .relaxed)
    }
}

extension CarriedConnection.Destination {
    fileprivate init(_ destination: TunnelDestination) {
        self.init(
            source: destination.key.source, destination: destination.key.destination,
            address: destination.key.address, expected: destination.key.expected,
            identity: destination.identity.sessionContext)
    }
}

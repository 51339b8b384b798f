// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshTunnel
import Synchronization

/// TLS handshakes: the loop reads and writes the socket, ``HandshakeWorkers`` do the arithmetic.
extension LoopCore {
    func beginServerHandshake(_ connection: Connection) {
        connection.setup?.handshake = PendingHandshake(.accepting(self.settings.acceptor))
        self.noteSecuring(connection)
        self.setDeadline(connection, after: self.configuration.handshakeTimeout.nanoseconds)
        self.continueHandshake(connection)
    }

    func beginClientHandshake(_ connection: Connection) {
        guard let setup = connection.setup, let tunnel = setup.target?.tunnel else { return }
        if let workload = connection.workload, let limit = self.refuseHandshake(of: workload, for: connection) {
            self.attemptFailed(connection, .limitExceeded, limit, isRetryable: false)
            return
        }
        self.prepareKernel(connection.server)
        tunnel.destination.dropSession(unlessGoodAt: Int64(Clock.wall / 1_000_000_000))
        let pending = PendingHandshake(.dialling(tunnel))
        setup.handshake = pending
        self.noteSecuring(connection)
        self.setDeadline(connection, after: self.configuration.handshakeTimeout.nanoseconds)
        self.submit(pending, connection)
    }

    /// Reads what the peer has sent of its handshake, and goes on with it.
    func continueHandshake(_ connection: Connection) {
        let index: UInt32
        switch connection.machine.state {
        case .securingClient: index = connection.index
        case .securingServer: index = connection.server
        case .awaitingRequest, .resolving, .awaitingIdentity, .dialing, .awaitingAnswer, .pooled, .relaying,
            .refusing, .closed:
            return
        }
        guard let pending = connection.setup?.handshake, !pending.isBusy,
            self.flushOrFail(connection, toward: index)
        else { return }
        let side = self.sides[index]
        guard side.pointee.flags.contains(.readable) else { return }
        let block = self.blocks.takeSmall()
        defer { self.blocks.give(block) }
        do throws(SystemError) {
            switch try Linux.receive(side.pointee.fd, block.pointee.base, block.pointee.capacity) {
            case .wouldBlock:
                side.pointee.flags.remove(.readable)
                return
            case .done(0):
                connection.setup?.isCut = true
                self.handshakeBroke(
                    connection, TunnelError(.handshakeFailed, "the peer closed the connection during the TLS handshake")
                )
                return
            case .done(let count):
                // More than fits waits for the next step; a handshake's flight is a few kilobytes.
                if count < block.pointee.capacity, !side.pointee.flags.contains(.hangUp) {
                    side.pointee.flags.remove(.readable)
                }
                pending.input += UnsafeRawBufferPointer(start: block.pointee.base, count: count)
            }
        } catch {
            connection.setup?.isCut = error.isCut
            self.handshakeBroke(connection, TunnelError(.handshakeFailed, error.description))
            return
        }
        self.submit(pending, connection)
    }

    /// The certificate that a handshake waited for may be there.
    func resumeHandshake(_ connection: Connection) {
        guard let pending = connection.setup?.handshake, !pending.isBusy else { return }
        self.submit(pending, connection)
    }

    /// Hands a handshake's next step to the workers.
    private func submit(_ pending: PendingHandshake, _ connection: Connection) {
        guard let door = self.door else { return }
        // It begins in the next data plane.
        if self.isFreezing, !pending.hasBegun { return }
        let requester: HandshakeWorkers.Requester
        if connection.machine.origin == .tunnel {
            requester = .peer(connection.record.sourceAddress.ip)
            let (names, identities) = (self.workloadsByName, self.view?.identities ?? [:])
            pending.select = { [unowned pending] name in
                guard let workload = names[name], pending.isAllowed(by: workload) else { return .unknown }
                return identities[workload.id].map { .identity($0) } ?? .wait
            }
        } else if let source = connection.workload?.id {
            requester = .workload(source)
        } else {
            return
        }
        pending.isBusy = true
        let (index, generation) = (connection.index, self.sides[connection.index].pointee.generation)
        let isTaken = self.settings.workers.submit(pending, for: requester) {
            door.submit { core in core.handshakeStepped(pending, index, generation) }
        }
        if isTaken { return }
        pending.isBusy = false
        self.statistics.handshakesShed += 1
        self.attemptFailed(
            connection, .resourceExhausted, "too many TLS handshakes of \(requester) wait for their turn",
            isRetryable: false)
    }

    /// A step is done. The connection may be gone.
    private func handshakeStepped(_ pending: PendingHandshake, _ index: UInt32, _ generation: UInt32) {
        pending.isBusy = false
        guard self.sides[index].pointee.generation == generation,
            let connection = self.sides[index].pointee.connection?.takeUnretainedValue(),
            let setup = connection.setup, setup.handshake === pending
        else { return }
        let side = connection.machine.origin == .tunnel ? connection.index : connection.server
        if let handshake = pending.handshake {
            self.takeOutput(handshake, toward: side)
            if connection.machine.origin == .tunnel, connection.workload == nil, let name = handshake.serverName,
                let workload = self.workloadsByName[name]
            {
                connection.workload = workload
                connection.record.destinationWorkload = workload.id
            }
        }
        switch pending.progress {
        case .needsBytes:
            self.continueHandshake(connection)
        case .needsIdentity:
            // The view that brings it may have come while the threads looked at the one before.
            if let workload = connection.workload?.id, self.view?.identities[workload] != nil {
                self.submit(pending, connection)
            } else {
                self.park(connection)
            }
        case .failed(let error):
            // The alert goes out if it can; nobody waits for it.
            _ = try? self.flush(toward: side)
            self.handshakeBroke(connection, error)
        case .done(let session):
            self.handshakeDone(connection, side, session, pending)
        }
    }

    private func handshakeDone(
        _ connection: Connection, _ index: UInt32, _ session: TunnelSession, _ pending: PendingHandshake
    ) {
        if session.isResumed {
            self.statistics.handshakesResumed += 1
        } else {
            self.statistics.handshakesFull += 1
        }
        if connection.machine.origin == .tunnel, connection.workload == nil {
            self.handshakeBroke(
                connection, TunnelError(.unknownServerName, "the workload was unenrolled during the TLS handshake"))
            return
        }
        connection.session = session
        connection.setup?.handshake = nil
        self.noteSecured(connection)
        let leftover = pending.handshake?.takeLeftover() ?? []
        if !leftover.isEmpty {
            let block = leftover.count <= RecordLayout.longest ? self.blocks.takeSmall() : self.blocks.take()
            guard leftover.count <= block.pointee.capacity else {
                self.blocks.give(block)
                self.handshakeBroke(
                    connection, TunnelError(.protocolViolation, "too many bytes behind the TLS handshake"))
                return
            }
            Self.copy(leftover, to: block.pointee.base)
            block.pointee.tailEnd = leftover.count
            self.sides[index].pointee.block = block
        }
        self.setDeadline(connection, after: self.configuration.handshakeTimeout.nanoseconds)
        self.perform(connection.machine.secured(), connection)
        if case .awaitingRequest = connection.machine.state { self.awaitRequest(connection) }
    }

    private func handshakeBroke(_ connection: Connection, _ error: TunnelError) {
        // Whatever was wrong, the next attempt begins from the certificates.
        connection.setup?.target?.tunnel?.destination.session = nil
        if let limit = connection.setup?.handshake?.limit {
            self.settings.traffic.refusedHandshakes.wrappingAdd(1, ordering: .relaxed)
            self.attemptFailed(connection, .limitExceeded, limit, isRetryable: false)
            return
        }
        self.attemptFailed(connection, error.closeReason, error.message)
    }

    /// Queues a handshake's bytes for the peer.
    private func takeOutput(_ handshake: TunnelHandshake, toward index: UInt32) {
        while handshake.outputCount > 0 {
            let block = self.blockToward(index, room: handshake.outputCount)
            let room = block.pointee.capacity - block.pointee.end
            let count = handshake.takeOutput(
                UnsafeMutableRawBufferPointer(start: block.pointee.base + block.pointee.end, count: room))
            if count <= 0 { return }
            block.pointee.end += count
        }
    }
}

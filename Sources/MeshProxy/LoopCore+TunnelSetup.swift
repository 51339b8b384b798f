// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc
import MeshLinux
import MeshModel
import MeshTunnel

/// Handshakes, and the CONNECT and its answer.
extension LoopCore {
    // MARK: - Handshakes

    func beginServerHandshake(_ connection: Connection) {
        self.setDeadline(connection, after: self.settings.configuration.handshakeTimeout.nanoseconds)
        self.scheduleHandshake(connection)
    }

    /// The handshake with a peer that dialled, made when its first bytes are read: OpenSSL takes tens of kilobytes for
    /// it, which connections that wait for their turn must not hold.
    private func serverHandshake(_ connection: Connection) -> TunnelHandshake? {
        do throws(TunnelError) {
            let handshake = try TunnelHandshake(accepting: self.settings.acceptor) {
                [unowned self, unowned connection] in self.select($0, connection)
            }
            connection.setup?.handshake = handshake
            return handshake
        } catch {
            connection.record.detail = error.message
            self.close(connection, .resourceExhausted)
            return nil
        }
    }

    /// Which certificate a peer node gets for the name it asked for.
    private func select(_ name: String, _ connection: Connection) -> TunnelAcceptor.Selection {
        guard let workload = self.workloadsByName[name] else { return .unknown }
        connection.workload = workload
        connection.record.destinationWorkload = workload.id
        guard let identity = self.view?.identities[workload.id] else { return .wait }
        return .identity(identity)
    }

    func beginClientHandshake(_ connection: Connection) {
        self.setDeadline(connection, after: self.settings.configuration.handshakeTimeout.nanoseconds)
        self.scheduleHandshake(connection)
    }

    /// The handshake with a node that was dialled sends its first bytes.
    private func startClientHandshake(_ connection: Connection) {
        guard let tunnel = connection.setup?.target?.tunnel else { return }
        do throws(TunnelError) {
            connection.setup?.handshake = try TunnelHandshake(
                connectingAs: tunnel.identity, to: tunnel.serverName, expecting: tunnel.expected)
        } catch {
            self.attemptFailed(connection, .resourceExhausted, error.message, isRetryable: false)
            return
        }
        self.advanceHandshake(connection, connection.server)
    }

    /// Does what a handshake can do now; see ``scheduleHandshake(_:)``.
    func continueHandshake(_ connection: Connection) {
        switch connection.machine.state {
        case .securingClient:
            self.readHandshake(connection, connection.index)
        case .securingServer:
            if connection.setup?.handshake == nil { self.startClientHandshake(connection) }
            // That may have failed, and another attempt begun.
            if connection.setup?.handshake != nil { self.readHandshake(connection, connection.server) }
        case .awaitingRequest, .resolving, .awaitingIdentity, .dialing, .awaitingAnswer, .relaying, .refusing,
            .closed:
            return
        }
    }

    /// Reads what a side has sent of its handshake, and goes on.
    private func readHandshake(_ connection: Connection, _ index: UInt32) {
        guard self.flushOrFail(connection, toward: index) else { return }
        let side = self.sides[index]
        guard side.pointee.flags.contains(.readable) else { return }
        let block = self.blocks.takeSmall()
        defer { self.blocks.give(block) }
        // A handshake is a few kilobytes; who sends more waits for a next turn.
        for _ in 0..<4 {
            let handshake: TunnelHandshake
            do throws(SystemError) {
                switch try Linux.receive(side.pointee.fd, block.pointee.base, block.pointee.capacity) {
                case .wouldBlock:
                    side.pointee.flags.remove(.readable)
                    return
                case .done(0):
                    self.handshakeBroke(
                        connection, index,
                        TunnelError(.handshakeFailed, "the peer closed the connection during the TLS handshake"))
                    return
                case .done(let count):
                    if count < block.pointee.capacity, !side.pointee.flags.contains(.hangUp) {
                        side.pointee.flags.remove(.readable)
                    }
                    guard let current = connection.setup?.handshake ?? self.serverHandshake(connection) else { return }
                    handshake = current
                    handshake.receive(UnsafeRawBufferPointer(start: block.pointee.base, count: count))
                }
            } catch {
                self.handshakeBroke(connection, index, TunnelError(.handshakeFailed, error.description))
                return
            }
            self.advanceHandshake(connection, index)
            // It may have ended, well or not, and with it the connection.
            guard connection.setup?.handshake === handshake, side.pointee.flags.contains(.readable) else { return }
        }
        self.deferHandshake(connection)
    }

    /// Lets a handshake go as far as it can.
    func advanceHandshake(_ connection: Connection, _ index: UInt32) {
        guard let setup = connection.setup, let handshake = setup.handshake else { return }
        let progress = handshake.advance()
        self.takeOutput(handshake, toward: index)
        switch progress {
        case .needsBytes:
            _ = self.flushOrFail(connection, toward: index)
        case .needsIdentity:
            self.park(connection)
        case .failed(let error):
            // The alert goes out if it can; nobody waits for it.
            _ = try? self.flush(toward: index)
            self.handshakeBroke(connection, index, error)
        case .done(let session):
            connection.session = session
            setup.handshake = nil
            let leftover = handshake.takeLeftover()
            if !leftover.isEmpty {
                let block = leftover.count <= RecordLayout.longest ? self.blocks.takeSmall() : self.blocks.take()
                guard leftover.count <= block.pointee.capacity else {
                    self.blocks.give(block)
                    self.handshakeBroke(
                        connection, index, TunnelError(.protocolViolation, "too many bytes behind the TLS handshake"))
                    return
                }
                Self.copy(leftover, to: block.pointee.base)
                block.pointee.tailEnd = leftover.count
                self.sides[index].pointee.block = block
            }
            self.setDeadline(connection, after: self.settings.configuration.handshakeTimeout.nanoseconds)
            self.perform(connection.machine.secured(), connection)
            if case .awaitingRequest = connection.machine.state { self.readRequest(connection) }
        }
    }

    private func handshakeBroke(_ connection: Connection, _ index: UInt32, _ error: TunnelError) {
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

    // MARK: - Sending during setup

    /// The block of bytes on their way to a side, with room at its end as far as that is possible.
    private func blockToward(_ index: UInt32, room: Int) -> UnsafeMutablePointer<Block> {
        let flow = self.sides[index ^ 1]
        guard let old = flow.pointee.block else {
            let block = room <= RecordLayout.longest ? self.blocks.takeSmall() : self.blocks.take()
            flow.pointee.block = block
            return block
        }
        if old.pointee.capacity - old.pointee.end >= room || old.pointee.isLarge { return old }
        let block = self.blocks.take()
        let count = old.pointee.end - old.pointee.start
        memcpy(block.pointee.base, old.pointee.base + old.pointee.start, count)
        block.pointee.end = count
        self.blocks.give(old)
        flow.pointee.block = block
        return block
    }

    /// Seals a short text and sends it.
    func seal(_ bytes: [UInt8], _ connection: Connection, toward index: UInt32) throws(TunnelError) {
        guard let session = connection.session else { return }
        let block = self.blockToward(index, room: bytes.count + RecordLayout.overhead)
        guard block.pointee.capacity - block.pointee.end >= bytes.count + RecordLayout.overhead,
            bytes.count <= RecordLayout.content
        else { throw TunnelError(.protocolViolation, "a tunnel preface does not fit into one record") }
        let record = block.pointee.base + block.pointee.end
        Self.copy(bytes, to: record + RecordLayout.header)
        block.pointee.end += try session.seal(record, count: bytes.count, pool: &self.contexts)
    }

    /// Sends what waits for a side.
    ///
    /// - Returns: whether all of it went out.
    @discardableResult
    func flush(toward index: UInt32) throws(SystemError) -> Bool {
        let (side, flow) = (self.sides[index], self.sides[index ^ 1])
        guard let block = flow.pointee.block, block.pointee.hasBytes else { return true }
        guard side.pointee.flags.contains(.writable) else { return false }
        let left = block.pointee.end - block.pointee.start
        guard case .done(let count) = try Linux.send(side.pointee.fd, block.pointee.base + block.pointee.start, left)
        else {
            side.pointee.flags.remove(.writable)
            return false
        }
        block.pointee.start += count
        if count < left {
            side.pointee.flags.remove(.writable)
            return false
        }
        self.blocks.give(block)
        flow.pointee.block = nil
        return true
    }

    /// As ``flush(toward:)``; a broken socket fails the attempt, and then the result is false.
    private func flushOrFail(_ connection: Connection, toward index: UInt32) -> Bool {
        do throws(SystemError) {
            try self.flush(toward: index)
            return true
        } catch {
            self.attemptFailed(connection, self.reason(forFailureOf: index), error.description)
            return false
        }
    }

    // MARK: - The CONNECT

    /// Sends the CONNECT, and with it what the client has already said. Those bytes stay in the client's socket until
    /// the answer is here, so that a refusal loses nothing.
    func sendRequest(_ connection: Connection) {
        guard let setup = connection.setup, let tunnel = setup.target?.tunnel, let session = connection.session else {
            return
        }
        let head = tunnel.request.encoded
        let index = connection.server
        let block = self.blockToward(index, room: RecordLayout.stride)
        let room = min(RecordLayout.content, block.pointee.capacity - block.pointee.end - RecordLayout.overhead)
        guard head.count <= room else {
            self.attemptFailed(
                connection, .protocolError, "the CONNECT does not fit into one record", isRetryable: false)
            return
        }
        let record = block.pointee.base + block.pointee.end
        let content = record + RecordLayout.header
        Self.copy(head, to: content)
        let client = self.sides[connection.index]
        if client.pointee.flags.contains(.readable), head.count < room,
            case .done(let count)? = try? Linux.peek(client.pointee.fd, content + head.count, room - head.count),
            count > 0
        {
            setup.earlyCount = count
            connection.machine.sentData()
        }
        do throws(TunnelError) {
            block.pointee.end += try session.seal(record, count: head.count + setup.earlyCount, pool: &self.contexts)
        } catch {
            self.attemptFailed(connection, error.closeReason, error.message, isRetryable: false)
            return
        }
        self.readAnswer(connection)
    }

    func readAnswer(_ connection: Connection) {
        let index = connection.server
        guard self.flushOrFail(connection, toward: index), let setup = connection.setup,
            let session = connection.session
        else { return }
        do throws(RelayFailure) {
            while case .ranges = try self.fill(index, session) {
                guard let block = self.sides[index].pointee.block else { break }
                let range = block.pointee.vector[block.pointee.firstRange]
                let (taken, response) = try Self.reading {
                    () throws(TunnelError) in
                    try setup.response.read(UnsafeRawBufferPointer(start: range.iov_base, count: range.iov_len))
                }
                block.pointee.consumeRanges(taken)
                guard let response else { continue }
                self.answered(connection, response)
                return
            }
            if self.sides[index].pointee.flags.contains(.ended) {
                throw .tunnel(TunnelError(.truncated, "the peer node closed the tunnel instead of answering"))
            }
        } catch {
            let (reason, text) = self.explain(error)
            self.attemptFailed(connection, reason, text, isRetryable: !connection.machine.hasSentData)
        }
    }

    private func answered(_ connection: Connection, _ response: ConnectResponse) {
        if response.isAccepted {
            self.perform(connection.machine.accepted(), connection)
            return
        }
        let reason = response.reason ?? (response.status == 403 ? .policyDenied : .connectRefused)
        let detail = response.detail.map { ": \($0)" } ?? ""
        // 503 is about this endpoint and says that nothing was delivered; the others are about the connection.
        self.attemptFailed(
            connection, reason, "the peer node refused with \(response.status)\(detail)",
            isRetryable: response.status == 503)
    }

    func readRequest(_ connection: Connection) {
        let index = connection.index
        guard self.flushOrFail(connection, toward: index), let setup = connection.setup,
            let session = connection.session
        else { return }
        do throws(RelayFailure) {
            while case .ranges = try self.fill(index, session) {
                guard let block = self.sides[index].pointee.block else { break }
                let range = block.pointee.vector[block.pointee.firstRange]
                let (taken, request) = try Self.reading {
                    () throws(TunnelError) in
                    try setup.request.read(UnsafeRawBufferPointer(start: range.iov_base, count: range.iov_len))
                }
                block.pointee.consumeRanges(taken)
                guard let request else { continue }
                setup.requested = request
                connection.deadline = 0
                self.perform(connection.machine.requested(), connection)
                return
            }
            if self.sides[index].pointee.flags.contains(.ended) {
                throw .tunnel(TunnelError(.truncated, "the peer node closed the tunnel without a CONNECT"))
            }
        } catch {
            let (reason, text) = self.explain(error)
            connection.record.detail = text
            if case .tunnel(let failure) = error, failure.code == .protocolViolation {
                self.fail(connection, reason, text)
            } else {
                self.close(connection, reason)
            }
        }
    }

    private static func copy(_ bytes: [UInt8], to destination: UnsafeMutableRawPointer) {
        UnsafeMutableRawBufferPointer(start: destination, count: bytes.count).copyBytes(from: bytes)
    }

    private static func reading<T>(_ body: () throws(TunnelError) -> T) throws(RelayFailure) -> T {
        do throws(TunnelError) { return try body() } catch { throw .tunnel(error) }
    }

    // MARK: - Refusing

    /// Tells the peer node why, and waits a little until it has read that: closing at once could overtake the answer.
    func refuse(_ connection: Connection, _ reason: CloseReason) {
        self.closeSide(connection.server, isOrderly: false)
        // What the client sent is not wanted any more.
        self.giveBack(connection.index)
        self.setDeadline(connection, after: 2_000_000_000)
        do throws(TunnelError) {
            let answer = ConnectResponse.refusal(reason, detail: connection.record.detail)
            try self.seal(answer.encoded, connection, toward: connection.index)
            if let session = connection.session {
                let block = self.blockToward(connection.index, room: TunnelSession.controlLength)
                guard block.pointee.capacity - block.pointee.end >= TunnelSession.controlLength else { return }
                block.pointee.end += try session.sealCloseNotify(
                    block.pointee.base + block.pointee.end, pool: &self.contexts)
            }
        } catch {
            self.perform(connection.machine.refusalDone(), connection)
            return
        }
        self.continueRefusal(connection)
    }

    func continueRefusal(_ connection: Connection) {
        guard let setup = connection.setup else { return }
        let side = self.sides[connection.index]
        do throws(SystemError) {
            guard try self.flush(toward: connection.index) else { return }
            if !setup.isRefusalSent {
                setup.isRefusalSent = true
                Linux.shutdownWrite(side.pointee.fd)
            }
            for _ in 0..<16 {
                guard case .done(let count) = try Linux.discard(side.pointee.fd, 1 << 16) else {
                    side.pointee.flags.remove(.readable)
                    return
                }
                if count == 0 { break }
            }
        } catch {
            setup.isRefusalSent = true
        }
        self.perform(connection.machine.refusalDone(), connection)
    }
}

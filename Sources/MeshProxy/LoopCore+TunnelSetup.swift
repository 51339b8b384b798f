// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc
import MeshLinux
import MeshModel
import MeshTunnel

/// The CONNECT and its answer.
extension LoopCore {
    // MARK: - Sending during setup

    /// The block of bytes on their way to a side, with room at its end as far as that is possible.
    func blockToward(_ index: UInt32, room: Int) -> UnsafeMutablePointer<Block> {
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
    func flushOrFail(_ connection: Connection, toward index: UInt32) -> Bool {
        do throws(SystemError) {
            try self.flush(toward: index)
            return true
        } catch {
            connection.setup?.isCut = error.isCut
            self.attemptFailed(connection, self.reason(forFailureOf: index, error), error.description)
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
        self.noteAsking(connection)
        let isReuseOffered = self.configuration.tunnelPool.isReused
        // Before the answer: what comes right behind it is read by the same rules.
        session.isReusable = isReuseOffered
        var request = tunnel.request
        request.capabilities = TunnelCapabilities(
            reuse: isReuseOffered, fixedKeys: self.settings.engine.hasFixedKeys)
        let head = request.encoded
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
        guard let setup = connection.setup, let session = connection.session else { return }
        var unsent: SystemError?
        do throws(SystemError) { try self.flush(toward: index) } catch { unsent = error }
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
            // Only now: what the peer had to say before it closed the socket comes first.
            if let unsent { throw .write(index, unsent) }
        } catch {
            self.answerFailed(connection, error)
        }
    }

    /// The tunnel broke before the answer.
    private func answerFailed(_ connection: Connection, _ failure: RelayFailure) {
        // A tunnel that stood ready may have been given up by the peer as the CONNECT went out. In good order means
        // that the CONNECT was not read; in any other way it might have been.
        let isOrderly = self.sides[connection.server].pointee.flags.contains(.closeReceived)
        if connection.setup?.isReused == true, isOrderly || !connection.machine.hasSentData {
            self.statistics.tunnelsStale += 1
            connection.setup?.mustDialAnew = true
            self.takeDown(connection)
            self.perform(connection.machine.wentStale(), connection)
            return
        }
        connection.setup?.isCut =
            switch failure {
            case .read(_, let error), .write(_, let error): error.isCut
            case .tunnel(let error): error.code == .truncated
            }
        let (reason, text) = self.explain(failure)
        self.attemptFailed(connection, reason, text, isRetryable: !connection.machine.hasSentData)
    }

    private func answered(_ connection: Connection, _ response: ConnectResponse) {
        if response.isAccepted {
            if connection.session?.isReusable == true, response.capabilities?.reuse != true {
                // Other software's empty records say nothing.
                connection.session?.isReusable = false
                let side = self.sides[connection.server]
                if !side.pointee.flags.contains(.closeReceived) { side.pointee.flags.remove(.ended) }
            }
            connection.setup?.peerCapabilities = response.capabilities
            self.noteAnswer(connection)
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
                self.requestBegins(connection)
                let range = block.pointee.vector[block.pointee.firstRange]
                let (taken, request) = try Self.reading {
                    () throws(TunnelError) in
                    try setup.request.read(UnsafeRawBufferPointer(start: range.iov_base, count: range.iov_len))
                }
                block.pointee.consumeRanges(taken)
                guard let request else { continue }
                self.requestIsHere(connection, setup, session, request)
                return
            }
            if self.sides[index].pointee.flags.contains(.ended) {
                throw .tunnel(TunnelError(.truncated, "the peer node closed the tunnel without a CONNECT"))
            }
        } catch {
            let (reason, text) = self.explain(error)
            if case .tunnel(let failure) = error, failure.code != .truncated { self.unquiet(connection) }
            connection.record.detail = text
            if case .tunnel(let failure) = error, failure.code == .protocolViolation {
                self.fail(connection, reason, text)
            } else {
                self.close(connection, reason)
            }
        }
    }

    func requestIsHere(
        _ connection: Connection, _ setup: Connection.Setup, _ session: TunnelSession, _ request: ConnectRequest
    ) {
        setup.requested = request
        setup.peerCapabilities = request.capabilities
        // Said before the answer is: no end of a connection can come before that.
        session.isReusable = self.configuration.tunnelPool.isReused && request.capabilities?.reuse == true
        connection.deadline = 0
        self.perform(connection.machine.requested(), connection)
    }

    /// The first bytes of a CONNECT are here: from now on it is a connection, and has to hurry.
    private func requestBegins(_ connection: Connection) {
        if !connection.isAwaitingFirstByte { return }
        connection.isAwaitingFirstByte = false
        self.unquiet(connection)
        self.setDeadline(connection, after: self.configuration.handshakeTimeout.nanoseconds)
    }

    static func copy(_ bytes: [UInt8], to destination: UnsafeMutableRawPointer) {
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
            // A tunnel that nobody asked anything of just ends.
            if !connection.isQuiet {
                let answer = ConnectResponse.refusal(reason, detail: connection.record.detail)
                try self.seal(answer.encoded, connection, toward: connection.index)
            }
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

// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc
import MeshLinux
import MeshModel
import MeshTunnel

/// Moving bytes. Nothing here allocates, locks, waits or logs per byte; each call moves a bounded amount.
///
/// Sockets are watched edge-triggered, so a flow is pumped until it would block, its share of the turn is used up (then
/// the connection goes to the ready list), or the stream has ended. A short read means "empty" only as long as no FIN
/// was announced: after that every read goes on to 0.
extension LoopCore {
    /// Steps per flow and turn: of 64 KiB when copied, a pipe when spliced, a batch when sealed or opened.
    private static let steps = 8
    /// Read at once when bytes are copied.
    private static let copySize = 64 << 10
    /// A read of this size says that bytes come in bulk, and splicing begins.
    private static let bulk = 16 << 10
    /// Splicing ends when a turn moved less.
    private static let trickle = 8 << 10

    /// Pumps both directions of a connection.
    func relay(_ connection: Connection) {
        let (client, server) = (connection.index, connection.server)
        do throws(RelayFailure) {
            var hasMore = try self.pump(client, connection)
            if try self.pump(server, connection) { hasMore = true }
            // The second direction may have received a wish that the first has to answer.
            if let session = connection.session, session.mustUpdateKey {
                if try self.pump(client, connection) { hasMore = true }
            }
            if hasMore { self.makeReady(connection) }
        } catch {
            self.relayBroke(connection, error)
            return
        }
        let (up, down) = (self.sides[client].pointee.flags, self.sides[server].pointee.flags)
        if up.contains(.flushed) || down.contains(.flushed) || up.contains(.failed) || down.contains(.failed) {
            self.considerEnd(connection, up, down)
        }
    }

    private func considerEnd(_ connection: Connection, _ up: Side.Flags, _ down: Side.Flags) {
        if up.contains(.flushed), down.contains(.flushed) {
            self.close(connection, .completed)
            return
        }
        for (index, flags) in [(connection.index, up), (connection.server, down)]
        where flags.isSuperset(of: [.failed, .ended]) {
            // Its stream had ended in order, so no read will ever report this.
            let code = Linux.socketError(self.sides[index].pointee.fd)
            if code == 0 {
                self.sides[index].pointee.flags.remove(.failed)
                continue
            }
            self.relayBroke(connection, .write(index, SystemError(call: "poll", errno: code)))
            return
        }
        if !connection.isHalfClosed, up.contains(.flushed) || down.contains(.flushed) {
            connection.isHalfClosed = true
            if let limit = self.quietLimit(connection) { self.setDeadline(connection, after: limit) }
        }
    }

    private func relayBroke(_ connection: Connection, _ failure: RelayFailure) {
        let (reason, text) = self.explain(failure)
        switch failure {
        case .write(let index, _):
            // What that side had sent before it broke is still its word: an early answer followed by a reset.
            _ = try? self.pump(index, connection)
        case .tunnel(let error):
            if error.code == .recordForged || error.code == .protocolViolation {
                self.sendAlert(error, connection)
            }
        case .read: break
        }
        connection.record.detail = text
        self.close(connection, reason)
    }

    /// Tells the peer node what was wrong with its bytes, if its socket takes that at once.
    private func sendAlert(_ error: TunnelError, _ connection: Connection) {
        guard let session = connection.session else { return }
        let isClient = self.sides[connection.index].pointee.flags.contains(.tunnel)
        let index = isClient ? connection.index : connection.server
        // Behind half a record an alert could not be read.
        guard self.sides[index ^ 1].pointee.block?.pointee.hasBytes != true else { return }
        let block = self.blocks.takeSmall()
        defer { self.blocks.give(block) }
        let alert: UInt8 = error.code == .recordForged ? 20 : 10
        guard let count = try? session.sealAlert(alert, block.pointee.base, pool: &self.contexts) else { return }
        _ = try? Linux.send(self.sides[index].pointee.fd, block.pointee.base, count)
    }

    /// A failure as a close reason and a text.
    func explain(_ failure: RelayFailure) -> (CloseReason, String) {
        switch failure {
        case .read(let index, let error), .write(let index, let error):
            (self.reason(forFailureOf: index), error.description)
        case .tunnel(let error):
            (error.closeReason, error.message)
        }
    }

    /// Moves bytes from a side to the other one.
    ///
    /// - Returns: whether more could be moved at once.
    @inline(__always)
    private func pump(_ index: UInt32, _ connection: Connection) throws(RelayFailure) -> Bool {
        let source = self.sides[index]
        if source.pointee.flags.contains(.flushed) { return false }
        let before = source.pointee.bytes
        defer { if source.pointee.bytes != before { connection.activity = self.now } }
        guard let session = connection.session else { return try self.pumpPlain(index) }
        return source.pointee.flags.contains(.tunnel)
            ? try self.pumpOpening(index, session) : try self.pumpSealing(index, session)
    }

    // MARK: - Plain to plain

    private func pumpPlain(_ index: UInt32) throws(RelayFailure) -> Bool {
        let (source, destination) = (self.sides[index], self.sides[index ^ 1])
        var moved = 0
        for _ in 0..<Self.steps {
            if source.pointee.bytesInPipe > 0 {
                guard try self.spliceOut(index) else { return false }
            }
            if let block = source.pointee.block, block.pointee.hasBytes {
                guard try self.sendBytes(block, index) else { return false }
            }
            if source.pointee.flags.contains(.ended) {
                self.giveBack(index)
                Linux.shutdownWrite(destination.pointee.fd)
                source.pointee.flags.insert(.flushed)
                return false
            }
            guard source.pointee.flags.contains(.readable) else {
                if moved < Self.trickle { source.pointee.flags.remove(.splicing) }
                self.giveBack(index)
                return false
            }
            let count =
                source.pointee.flags.contains(.splicing) ? try self.spliceIn(index) : try self.copyIn(index)
            moved += count
        }
        return true
    }

    /// Takes bytes from a socket into a pipe.
    private func spliceIn(_ index: UInt32) throws(RelayFailure) -> Int {
        let source = self.sides[index]
        if source.pointee.pipe < 0 {
            guard let pipe = self.pipes.take() else {
                source.pointee.flags.remove(.splicing)
                return 0
            }
            source.pointee.pipe = pipe
        }
        let result: IOResult<Int>
        do throws(SystemError) {
            // The pipe is empty here, so EAGAIN can only mean that the socket is.
            result = try Linux.splice(
                from: source.pointee.fd, to: self.pipes[source.pointee.pipe].write,
                self.settings.configuration.pipeSize)
        } catch {
            throw .read(index, error)
        }
        switch result {
        case .wouldBlock:
            source.pointee.flags.remove(.readable)
            return 0
        case .done(0):
            source.pointee.flags.insert(.ended)
            return 0
        case .done(let count):
            source.pointee.bytesInPipe = Int32(truncatingIfNeeded: count)
            return count
        }
    }

    /// - Returns: whether the pipe is empty now.
    private func spliceOut(_ index: UInt32) throws(RelayFailure) -> Bool {
        let (source, destination) = (self.sides[index], self.sides[index ^ 1])
        let pipe = self.pipes[source.pointee.pipe].read
        while source.pointee.bytesInPipe > 0 {
            guard destination.pointee.flags.contains(.writable) else { return false }
            do throws(SystemError) {
                switch try Linux.splice(from: pipe, to: destination.pointee.fd, Int(source.pointee.bytesInPipe)) {
                case .wouldBlock:
                    destination.pointee.flags.remove(.writable)
                    return false
                case .done(let count):
                    source.pointee.bytesInPipe -= Int32(truncatingIfNeeded: count)
                    source.pointee.bytes += UInt64(count)
                }
            } catch {
                throw .write(index ^ 1, error)
            }
        }
        return true
    }

    private func copyIn(_ index: UInt32) throws(RelayFailure) -> Int {
        let source = self.sides[index]
        let block = self.block(of: source)
        let room = min(Self.copySize, block.pointee.capacity)
        let result: IOResult<Int>
        do throws(SystemError) {
            result = try Linux.receive(source.pointee.fd, block.pointee.base, room)
        } catch {
            throw .read(index, error)
        }
        switch result {
        case .wouldBlock:
            source.pointee.flags.remove(.readable)
            return 0
        case .done(0):
            source.pointee.flags.insert(.ended)
            return 0
        case .done(let count):
            if count < room, !source.pointee.flags.contains(.hangUp) { source.pointee.flags.remove(.readable) }
            if count >= Self.bulk { source.pointee.flags.insert(.splicing) }
            block.pointee.start = 0
            block.pointee.end = count
            source.pointee.bytes += UInt64(count)
            return count
        }
    }

    /// The flow's block, lent now if it has none.
    @inline(__always)
    private func block(of side: UnsafeMutablePointer<Side>) -> UnsafeMutablePointer<Block> {
        if let block = side.pointee.block { return block }
        let block = self.blocks.take()
        side.pointee.block = block
        return block
    }

    /// Sends the bytes of a flow's block as they are.
    ///
    /// - Returns: whether all went out.
    @inline(__always)
    private func sendBytes(_ block: UnsafeMutablePointer<Block>, _ index: UInt32) throws(RelayFailure) -> Bool {
        let destination = self.sides[index ^ 1]
        guard destination.pointee.flags.contains(.writable) else { return false }
        let left = block.pointee.end - block.pointee.start
        let result: IOResult<Int>
        do throws(SystemError) {
            result = try Linux.send(destination.pointee.fd, block.pointee.base + block.pointee.start, left)
        } catch {
            throw .write(index ^ 1, error)
        }
        guard case .done(let count) = result else {
            destination.pointee.flags.remove(.writable)
            return false
        }
        block.pointee.start += count
        // A socket that takes only a part is full, and its edge is armed.
        if count < left {
            destination.pointee.flags.remove(.writable)
            return false
        }
        block.pointee.start = 0
        block.pointee.end = 0
        return true
    }

    // MARK: - Plain to tunnel

    private func pumpSealing(_ index: UInt32, _ session: TunnelSession) throws(RelayFailure) -> Bool {
        let (source, destination) = (self.sides[index], self.sides[index ^ 1])
        for _ in 0..<Self.steps {
            if let block = source.pointee.block, block.pointee.hasBytes {
                guard try self.sendBytes(block, index) else { return false }
            }
            if session.mustUpdateKey, !source.pointee.flags.contains(.closeSealed) {
                let block = self.block(of: source)
                do throws(TunnelError) {
                    block.pointee.end = try session.sealKeyUpdate(block.pointee.base, pool: &self.contexts)
                } catch { throw .tunnel(error) }
                continue
            }
            if source.pointee.flags.contains(.ended) {
                if source.pointee.flags.contains(.closeSealed) {
                    self.giveBack(index)
                    Linux.shutdownWrite(destination.pointee.fd)
                    source.pointee.flags.insert(.flushed)
                    return false
                }
                source.pointee.flags.insert(.closeSealed)
                let block = self.block(of: source)
                do throws(TunnelError) {
                    block.pointee.end = try session.sealCloseNotify(block.pointee.base, pool: &self.contexts)
                } catch { throw .tunnel(error) }
                continue
            }
            guard source.pointee.flags.contains(.readable) else {
                self.giveBack(index)
                return false
            }
            try self.sealIn(index, session)
        }
        return true
    }

    /// Reads a batch straight into record slots and seals it there.
    private func sealIn(_ index: UInt32, _ session: TunnelSession) throws(RelayFailure) {
        let source = self.sides[index]
        let block = self.block(of: source)
        let (base, vector) = (block.pointee.base, block.pointee.vector)
        let records = block.pointee.isLarge ? self.blocks.batch : 1
        for record in 0..<records {
            vector[record] = iovec(
                iov_base: base + (record * RecordLayout.stride + RecordLayout.header), iov_len: RecordLayout.content)
        }
        let result: IOResult<Int>
        do throws(SystemError) {
            result = try Linux.read(source.pointee.fd, vector: vector, count: records)
        } catch {
            throw .read(index, error)
        }
        switch result {
        case .wouldBlock:
            source.pointee.flags.remove(.readable)
        case .done(0):
            source.pointee.flags.insert(.ended)
        case .done(let count):
            if count < records * RecordLayout.content, !source.pointee.flags.contains(.hangUp) {
                source.pointee.flags.remove(.readable)
            }
            do throws(TunnelError) {
                block.pointee.start = 0
                block.pointee.end = try session.seal(base, count: count, pool: &self.contexts)
            } catch { throw .tunnel(error) }
            source.pointee.bytes += UInt64(count)
        }
    }

    // MARK: - Tunnel to plain

    private func pumpOpening(_ index: UInt32, _ session: TunnelSession) throws(RelayFailure) -> Bool {
        let (source, destination) = (self.sides[index], self.sides[index ^ 1])
        for _ in 0..<Self.steps {
            if let block = source.pointee.block, block.pointee.hasRanges {
                guard try self.sendRanges(block, index) else { return false }
            }
            switch try self.fill(index, session) {
            case .ranges: continue
            case .blocked: return false
            case .ended:
                self.giveBack(index)
                Linux.shutdownWrite(destination.pointee.fd)
                source.pointee.flags.insert(.flushed)
                return false
            }
        }
        return true
    }

    /// - Returns: whether all ranges went out.
    private func sendRanges(_ block: UnsafeMutablePointer<Block>, _ index: UInt32) throws(RelayFailure) -> Bool {
        let (source, destination) = (self.sides[index], self.sides[index ^ 1])
        guard destination.pointee.flags.contains(.writable) else { return false }
        let result: IOResult<Int>
        do throws(SystemError) {
            result = try Linux.send(
                destination.pointee.fd, vector: block.pointee.vector + block.pointee.firstRange,
                count: block.pointee.rangeCount - block.pointee.firstRange)
        } catch {
            throw .write(index ^ 1, error)
        }
        guard case .done(let count) = result else {
            destination.pointee.flags.remove(.writable)
            return false
        }
        source.pointee.bytes += UInt64(count)
        block.pointee.consumeRanges(count)
        if block.pointee.hasRanges {
            destination.pointee.flags.remove(.writable)
            return false
        }
        return true
    }

    enum Fill {
        /// The side's block has ranges of opened content.
        case ranges
        case blocked
        /// The peer ended its direction in order.
        case ended
    }

    /// Opens records that are here, or reads more, until the side's block has content.
    func fill(_ index: UInt32, _ session: TunnelSession) throws(RelayFailure) -> Fill {
        let source = self.sides[index]
        // Bounded by what a peer can send without content: see ``TunnelSession``.
        while true {
            if let block = source.pointee.block {
                if block.pointee.hasRanges { return .ranges }
                if source.pointee.flags.contains(.ended) { return .ended }
                block.pointee.firstRange = 0
                block.pointee.rangeCount = 0
                if block.pointee.tailCount > RecordLayout.header {
                    do throws(TunnelError) {
                        let opened = try session.open(
                            block.pointee.base + block.pointee.tailStart, count: block.pointee.tailCount,
                            into: block.pointee.vector, capacity: Block.rangeLimit, pool: &self.contexts)
                        block.pointee.tailStart += opened.consumed
                        block.pointee.rangeCount = opened.ranges
                        if opened.isEnd {
                            source.pointee.flags.insert(.ended)
                            block.pointee.tailStart = block.pointee.tailEnd
                        }
                        if opened.consumed > 0 { continue }
                    } catch { throw .tunnel(error) }
                }
            } else if source.pointee.flags.contains(.ended) {
                return .ended
            }
            guard source.pointee.flags.contains(.readable) else {
                self.parkTail(source)
                return .blocked
            }
            try self.receiveRecords(index)
        }
    }

    /// Reads records behind what is left of the last batch.
    private func receiveRecords(_ index: UInt32) throws(RelayFailure) {
        let source = self.sides[index]
        var block = self.block(of: source)
        if !block.pointee.isLarge {
            // The parked head of a record moves back into a large block, if there is one to lend.
            let large = self.blocks.take()
            if large.pointee.isLarge {
                let count = block.pointee.tailCount
                memcpy(large.pointee.base, block.pointee.base + block.pointee.tailStart, count)
                large.pointee.tailEnd = count
                self.blocks.give(block)
                source.pointee.block = large
                block = large
            } else {
                self.blocks.give(large)
            }
        }
        if block.pointee.tailStart > 0 {
            let count = block.pointee.tailCount
            if count > 0 { memmove(block.pointee.base, block.pointee.base + block.pointee.tailStart, count) }
            block.pointee.tailStart = 0
            block.pointee.tailEnd = count
        }
        let room = block.pointee.capacity - block.pointee.tailEnd
        let result: IOResult<Int>
        do throws(SystemError) {
            result = try Linux.receive(source.pointee.fd, block.pointee.base + block.pointee.tailEnd, room)
        } catch {
            throw .read(index, error)
        }
        switch result {
        case .wouldBlock:
            source.pointee.flags.remove(.readable)
        case .done(0):
            throw .tunnel(
                TunnelError(.truncated, "the peer node's connection ended without close_notify: it broke or was cut"))
        case .done(let count):
            if count < room, !source.pointee.flags.contains(.hangUp) { source.pointee.flags.remove(.readable) }
            block.pointee.tailEnd += count
        }
    }

    /// Keeps a partly received record in a small block while nothing more comes, and nothing when there is none.
    private func parkTail(_ source: UnsafeMutablePointer<Side>) {
        guard let block = source.pointee.block else { return }
        let count = block.pointee.tailCount
        if count > 0, block.pointee.isLarge, count <= RecordLayout.longest {
            let small = self.blocks.takeSmall()
            memcpy(small.pointee.base, block.pointee.base + block.pointee.tailStart, count)
            small.pointee.tailEnd = count
            source.pointee.block = small
            self.blocks.give(block)
        } else if count == 0 {
            source.pointee.block = nil
            self.blocks.give(block)
        }
    }
}

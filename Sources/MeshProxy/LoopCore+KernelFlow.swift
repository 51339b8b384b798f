// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshTunnel

/// A tunnel's bytes when the kernel seals and opens its records: by copy while they trickle, by splice when they come in
/// bulk, and then no byte of them enters this process.
///
/// Kernel TLS loses data or hangs when it is used as if it were TCP. The guards are here, in ``KernelTunnel`` and in
/// ``LoopCore/takeEngine(_:)``, each under the name of its trap:
/// - T1: splicing into it can hang for ever; see ``spliceIntoKernel(_:_:)``.
/// - T2: splicing out of it into a nearly full pipe loses bytes; see ``PipeRoom``.
/// - T3: shutdown and close discard what TCP has not taken yet; see ``WireAccount``.
/// - T4: level-triggered epoll spins on half a record. All sockets here are watched edge-triggered, and flows read until
///   EAGAIN, which for kernel TLS a short read does not foretell.
/// - T5: a KeyUpdate cannot be followed; see ``KernelRecordReader``.
/// - T6: it must be prepared before the handshake; see ``LoopCore/prepareKernel(_:)``.
/// - T7: the end, an empty record and a truncation look alike to splice; see ``checkEnd(_:_:)``.
/// - T8: SPLICE_F_MORE holds a message back for 200 ms; `nm_splice` never sets it.
/// - T9: sockmap programs see ciphertext on such a socket; none is attached to the proxy's own.
extension LoopCore {
    // MARK: - Into the tunnel

    func pumpIntoKernel(
        _ index: UInt32, _ kernel: KernelTunnel, _ connection: Connection
    ) throws(RelayFailure) -> Bool {
        let source = self.sides[index]
        var moved = 0
        for _ in 0..<self.stepsLeft {
            if source.pointee.bytesInPipe > 0 {
                guard try self.spliceIntoKernel(index, kernel) else { return false }
            }
            if let block = source.pointee.block, block.pointee.hasBytes {
                guard try self.sendIntoKernel(block, index, kernel) else {
                    self.spill(block, index)
                    return false
                }
            }
            if source.pointee.flags.contains(.ended) {
                self.giveBack(index)
                try self.endIntoKernel(index, kernel, connection)
                return false
            }
            guard source.pointee.flags.contains(.readable) else {
                if moved < Self.trickle { source.pointee.flags.remove(.bulk) }
                self.giveBack(index)
                return false
            }
            moved += source.pointee.flags.contains(.bulk) ? try self.spliceIn(index) : try self.copyIn(index)
        }
        return true
    }

    /// - Returns: whether the pipe is empty now.
    private func spliceIntoKernel(_ index: UInt32, _ kernel: KernelTunnel) throws(RelayFailure) -> Bool {
        let (source, destination) = (self.sides[index], self.sides[index ^ 1])
        let pipe = self.pipes[source.pointee.pipe]
        while source.pointee.bytesInPipe > 0 {
            guard destination.pointee.flags.contains(.writable) else { return false }
            do throws(SystemError) {
                switch try Linux.splice(from: pipe.read, to: destination.pointee.fd, Int(source.pointee.bytesInPipe)) {
                case .wouldBlock:
                    destination.pointee.flags.remove(.writable)
                    // T1: all but the last page of a splice goes to TCP with "more comes", so TCP may sit on it. If
                    // nothing else is on its way then, no acknowledgement and so no event will ever come. Setting
                    // TCP_NODELAY, again, makes TCP send what it has.
                    try Linux.setNoDelay(destination.pointee.fd)
                    return false
                case .done(let count):
                    Self.leftPipe(count, source)
                    // A record holds 16 pages and a bit.
                    self.charge(kernel, count, records: count / RecordLayout.content + pipe.slots / 16 + 2)
                }
            } catch { throw Self.writeFailure(index ^ 1, error) }
            if kernel.budget.isSpent(for: kernel.suite) { throw .tunnel(KeyBudget.spent) }
        }
        return true
    }

    @inline(__always)
    private func charge(_ kernel: KernelTunnel, _ count: Int, records: Int) {
        kernel.account.took(count)
        kernel.budget.charge(content: count, records: records)
    }

    /// - Returns: whether all bytes of the block went out.
    private func sendIntoKernel(
        _ block: UnsafeMutablePointer<Block>, _ index: UInt32, _ kernel: KernelTunnel
    ) throws(RelayFailure) -> Bool {
        let destination = self.sides[index ^ 1]
        while block.pointee.hasBytes {
            guard destination.pointee.flags.contains(.writable) else { return false }
            let left = block.pointee.end - block.pointee.start
            do throws(SystemError) {
                switch try Linux.send(destination.pointee.fd, block.pointee.base + block.pointee.start, left) {
                case .wouldBlock:
                    destination.pointee.flags.remove(.writable)
                    return false
                case .done(let count):
                    block.pointee.start += count
                    self.charge(kernel, count, records: count / RecordLayout.content + 1)
                }
            } catch { throw Self.writeFailure(index ^ 1, error) }
            if kernel.budget.isSpent(for: kernel.suite) { throw .tunnel(KeyBudget.spent) }
        }
        block.pointee.start = 0
        block.pointee.end = 0
        return true
    }

    /// Ends our direction: close_notify, then FIN as soon as all records are in TCP.
    private func endIntoKernel(
        _ index: UInt32, _ kernel: KernelTunnel, _ connection: Connection
    ) throws(RelayFailure) {
        let (source, destination) = (self.sides[index], self.sides[index ^ 1])
        let fd = destination.pointee.fd
        do throws(SystemError) {
            if !kernel.isCloseSent {
                guard destination.pointee.flags.contains(.writable) else { return }
                guard case .done(let count) = try Linux.sendTLSRecord(fd, type: RecordLayout.alert, [1, 0]) else {
                    destination.pointee.flags.remove(.writable)
                    return
                }
                kernel.isCloseSent = true
                kernel.account.took(count)
            }
            // T3: nothing tells when the kernel has passed on the last record, so this is asked again and again.
            let bytes = try Linux.bytesInTCP(fd)
            let sequence = try Linux.sequenceOfTLS(fd, .sending, suite: kernel.suite.rawValue)
            guard kernel.account.isComplete(sequence: sequence, bytes: bytes) else {
                self.setPoll(connection, after: kernel.nextPoll())
                return
            }
        } catch { throw Self.writeFailure(index ^ 1, error) }
        connection.pollAt = 0
        Linux.shutdownWrite(fd)
        source.pointee.flags.insert(.flushed)
    }

    /// A forged record makes every later send fail with the same error.
    private static func writeFailure(_ index: UInt32, _ error: SystemError) -> RelayFailure {
        KernelRecordReader.failure(error).map { .tunnel($0) } ?? .write(index, error)
    }

    // MARK: - Out of the tunnel

    func pumpOutOfKernel(_ index: UInt32, _ kernel: KernelTunnel) throws(RelayFailure) -> Bool {
        let (source, destination) = (self.sides[index], self.sides[index ^ 1])
        var moved = 0
        for _ in 0..<self.stepsLeft {
            // Content that was opened here, before the kernel took over.
            if let block = source.pointee.block, block.pointee.hasRanges {
                guard try self.sendRanges(block, index) else { return false }
            }
            if source.pointee.bytesInPipe > 0 {
                guard try self.spliceOut(index) else { return false }
                kernel.room.drained()
            }
            if let block = source.pointee.block, block.pointee.hasBytes {
                guard try self.sendBytes(block, index) else {
                    if self.spill(block, index) > 0 {
                        // How many pages that took is not known: no record goes behind it.
                        let slots = self.pipes[source.pointee.pipe].slots
                        kernel.room = PipeRoom(slots: slots, used: slots)
                        if slots < PipeRoom.least { kernel.isCopying = true }
                    }
                    return false
                }
            }
            if source.pointee.flags.contains(.ended) {
                self.giveBack(index)
                Linux.shutdownWrite(destination.pointee.fd)
                source.pointee.flags.insert(.flushed)
                return false
            }
            guard source.pointee.flags.contains(.readable) else {
                if moved < Self.trickle { source.pointee.flags.remove(.bulk) }
                self.giveBack(index)
                return false
            }
            moved +=
                source.pointee.flags.contains(.bulk) && !kernel.isCopying
                ? try self.spliceRecords(index, kernel) : try self.copyRecords(index, kernel, isRecordThere: false)
        }
        return true
    }

    /// Takes records into a pipe, one per call, as long as the pipe has room for a whole one.
    private func spliceRecords(_ index: UInt32, _ kernel: KernelTunnel) throws(RelayFailure) -> Int {
        let source = self.sides[index]
        if source.pointee.pipe < 0 {
            guard let pipe = self.pipes.take(for: self.pipeHolder(index)) else {
                source.pointee.flags.remove(.bulk)
                return 0
            }
            kernel.room = PipeRoom(slots: self.pipes[pipe].slots)
            if kernel.room.slots < PipeRoom.least {
                self.pipes.give(pipe, isEmpty: true)
                kernel.isCopying = true
                return 0
            }
            source.pointee.pipe = pipe
        }
        let pipe = self.pipes[source.pointee.pipe].write
        var moved = 0
        while kernel.room.isEnough, source.pointee.flags.contains(.readable) {
            let result: IOResult<Int>
            do throws(SystemError) {
                result = try Linux.splice(from: source.pointee.fd, to: pipe, self.configuration.pipeSize)
            } catch {
                // A record of another type stays at the head of the queue; so does, told once, one that is none at all.
                guard error.errno == EINVAL else { throw Self.readFailure(index, error) }
                return moved + (try self.copyRecords(index, kernel, isRecordThere: true))
            }
            switch result {
            case .wouldBlock: source.pointee.flags.remove(.readable)
            case .done(0):
                try self.checkEnd(index, kernel)
                return moved
            case .done(let count):
                kernel.room.took(count)
                kernel.receipts?.took(count)
                kernel.reader.receivedData()
                source.pointee.bytesInPipe += Int32(truncatingIfNeeded: count)
                moved += count
            }
        }
        return moved
    }

    /// T7: splice returns 0 for the end of TCP's stream, which is a truncation, and for a record without content.
    private func checkEnd(_ index: UInt32, _ kernel: KernelTunnel) throws(RelayFailure) {
        let source = self.sides[index]
        var byte: UInt8 = 0
        do throws(SystemError) {
            switch try Linux.peek(source.pointee.fd, &byte, 1) {
            case .wouldBlock: source.pointee.flags.remove(.readable)
            case .done(0): throw SystemError(call: "recv", errno: 0)
            case .done: break
            }
        } catch {
            if error.errno == 0 { throw .tunnel(Self.truncated) }
            // A record of another type: the next step reads it.
            if error.errno != EIO { throw Self.readFailure(index, error) }
        }
        do throws(TunnelError) { try kernel.reader.receivedNothing() } catch { throw .tunnel(error) }
    }

    /// Copies content, or takes a record of another type.
    ///
    /// - Parameter isRecordThere: the kernel said that there is one, so that finding nothing is an error: it was no
    ///   record at all, and the kernel says so only once.
    private func copyRecords(
        _ index: UInt32, _ kernel: KernelTunnel, isRecordThere: Bool
    ) throws(RelayFailure) -> Int {
        let source = self.sides[index]
        let block = self.block(of: source)
        let room = min(Self.copySize, block.pointee.capacity)
        var type: UInt8 = 0
        let result: IOResult<Int>
        do throws(SystemError) {
            result = try Linux.receiveTLS(source.pointee.fd, block.pointee.base, room, type: &type)
        } catch { throw Self.readFailure(index, error) }
        switch result {
        case .wouldBlock:
            if isRecordThere { throw .tunnel(TunnelError(.protocolViolation, "the peer sent what is no TLS record")) }
            source.pointee.flags.remove(.readable)
            return 0
        case .done(0):
            // T7: without a type it is the end of TCP's stream, with one there were records without content.
            if type == 0 { throw .tunnel(Self.truncated) }
            do throws(TunnelError) { try kernel.reader.receivedNothing() } catch { throw .tunnel(error) }
            return 0
        case .done(let count) where type == RecordLayout.applicationData:
            kernel.receipts?.took(count)
            if count >= Self.bulk { source.pointee.flags.insert(.bulk) }
            kernel.reader.receivedData()
            block.pointee.start = 0
            block.pointee.end = count
            source.pointee.bytes += UInt64(count)
            return count
        case .done(let count):
            kernel.receipts?.took(count)
            do throws(TunnelError) {
                let content = UnsafeRawBufferPointer(start: block.pointee.base, count: count)
                if try kernel.reader.received(type: type, content) == .ended { source.pointee.flags.insert(.ended) }
            } catch { throw .tunnel(error) }
            return 0
        }
    }

    private static func readFailure(_ index: UInt32, _ error: SystemError) -> RelayFailure {
        KernelRecordReader.failure(error).map { .tunnel($0) } ?? .read(index, error)
    }

    private static let truncated = TunnelError(
        .truncated, "the peer node's connection ended without close_notify: it broke or was cut")
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel

/// Plain bytes to a plain socket: by copy while they trickle, by splice through a lent pipe when they come in bulk.
extension LoopCore {
    func pumpPlain(_ index: UInt32) throws(RelayFailure) -> Bool {
        let (source, destination) = (self.sides[index], self.sides[index ^ 1])
        var moved = 0
        for _ in 0..<self.stepsLeft {
            if source.pointee.bytesInPipe > 0 {
                guard try self.spliceOut(index) else { return false }
            }
            if let block = source.pointee.block, block.pointee.hasBytes {
                guard try self.sendBytes(block, index) else {
                    self.spill(block, index)
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
            let count =
                source.pointee.flags.contains(.bulk) ? try self.spliceIn(index) : try self.copyIn(index)
            moved += count
        }
        return true
    }

    /// Takes bytes from a socket into a pipe.
    func spliceIn(_ index: UInt32) throws(RelayFailure) -> Int {
        let source = self.sides[index]
        // splice(2) stops at urgent data for ever, and says that the stream ended there if a FIN follows.
        if source.pointee.flags.contains(.urgent) {
            source.pointee.flags.remove(.bulk)
            return 0
        }
        if source.pointee.pipe < 0 {
            guard let pipe = self.pipes.take(for: self.pipeHolder(index)) else {
                source.pointee.flags.remove(.bulk)
                return 0
            }
            source.pointee.pipe = pipe
        }
        let result: IOResult<Int>
        do throws(SystemError) {
            // The pipe is empty here, so EAGAIN can only mean that the socket is.
            result = try Linux.splice(
                from: source.pointee.fd, to: self.pipes[source.pointee.pipe].write,
                self.configuration.pipeSize)
        } catch {
            throw .read(index, error)
        }
        switch result {
        case .wouldBlock:
            source.pointee.flags.remove(.readable)
            return 0
        case .done(0):
            // The end, or urgent data in front of it; recv(2) tells.
            source.pointee.flags.remove(.bulk)
            return 0
        case .done(let count):
            source.pointee.bytesInPipe = Int32(truncatingIfNeeded: count)
            return count
        }
    }

    /// The flow of what is read from that side, as the ledger of pipes names it.
    @inline(__always)
    func pipeHolder(_ index: UInt32) -> UInt64 {
        guard let connection = self.sides[index].pointee.connection?.takeUnretainedValue() else { return 0 }
        return PipeLedger.holder(of: connection.record.id, isServer: index & 1 == 1)
    }

    /// - Returns: whether the pipe is empty now.
    func spliceOut(_ index: UInt32) throws(RelayFailure) -> Bool {
        let (source, destination) = (self.sides[index], self.sides[index ^ 1])
        let pipe = self.pipes[source.pointee.pipe].read
        while source.pointee.bytesInPipe > 0 {
            guard destination.pointee.flags.contains(.writable) else { return false }
            do throws(SystemError) {
                switch try Linux.splice(from: pipe, to: destination.pointee.fd, Int(source.pointee.bytesInPipe)) {
                case .wouldBlock:
                    destination.pointee.flags.remove(.writable)
                    return false
                case .done(0): throw SystemError(call: "splice", errno: EIO)
                case .done(let count):
                    Self.leftPipe(count, source)
                }
            } catch {
                throw .write(index ^ 1, error)
            }
        }
        return true
    }

    /// Bytes of a flow's pipe are with the other side now.
    @inline(__always)
    static func leftPipe(_ count: Int, _ source: UnsafeMutablePointer<Side>) {
        let count = Int32(truncatingIfNeeded: count)
        let known = min(count, source.pointee.spilled)
        source.pointee.spilled -= known
        source.pointee.bytesInPipe -= count
        source.pointee.bytes += UInt64(count - known)
    }

    /// Puts bytes that the other side has no room for into a pipe, where they outlive this process with the sockets. Only
    /// where these are kept, and as long as there are pipes.
    ///
    /// - Returns: bytes that went into the pipe.
    @discardableResult
    func spill(_ block: UnsafeMutablePointer<Block>, _ index: UInt32) -> Int {
        let source = self.sides[index]
        guard source.pointee.flags.contains(.kept), source.pointee.bytesInPipe == 0, block.pointee.hasBytes else {
            return 0
        }
        if source.pointee.pipe < 0 {
            guard let pipe = self.pipes.take(for: self.pipeHolder(index)) else { return 0 }
            source.pointee.pipe = pipe
        }
        var range = iovec(
            iov_base: block.pointee.base + block.pointee.start, iov_len: block.pointee.end - block.pointee.start)
        guard case .done(let count)? = try? Linux.write(self.pipes[source.pointee.pipe].write, vector: &range, count: 1)
        else { return 0 }
        source.pointee.bytesInPipe = Int32(truncatingIfNeeded: count)
        source.pointee.spilled = source.pointee.bytesInPipe
        block.pointee.start += count
        if !block.pointee.hasBytes {
            self.blocks.give(block)
            source.pointee.block = nil
        }
        return count
    }

    func copyIn(_ index: UInt32) throws(RelayFailure) -> Int {
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
            source.pointee.flags.remove(.readable)
            if !source.pointee.flags.contains(.broken) { source.pointee.flags.insert(.ended) }
            return 0
        case .done(let count):
            if count < room, !source.pointee.flags.contains(.hangUp) { source.pointee.flags.remove(.readable) }
            if count >= Self.bulk { source.pointee.flags.insert(.bulk) }
            block.pointee.start = 0
            block.pointee.end = count
            source.pointee.bytes += UInt64(count)
            return count
        }
    }

    /// The flow's block, lent now if it has none.
    @inline(__always)
    func block(of side: UnsafeMutablePointer<Side>) -> UnsafeMutablePointer<Block> {
        if let block = side.pointee.block { return block }
        let block = self.blocks.take()
        side.pointee.block = block
        return block
    }

    /// Sends the bytes of a flow's block as they are.
    ///
    /// - Returns: whether all went out.
    @inline(__always)
    func sendBytes(_ block: UnsafeMutablePointer<Block>, _ index: UInt32) throws(RelayFailure) -> Bool {
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
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshTunnel

/// A tunnel's bytes to a plain socket, opened in user space a batch at a time.
extension LoopCore {
    func pumpOpening(_ index: UInt32, _ session: TunnelSession) throws(RelayFailure) -> Bool {
        let (source, destination) = (self.sides[index], self.sides[index ^ 1])
        for _ in 0..<self.stepsLeft {
            if let block = source.pointee.block, block.pointee.hasRanges {
                guard try self.sendRanges(block, index) else { return false }
            }
            switch try self.fill(index, session) {
            case .ranges: continue
            case .blocked: return false
            case .ended:
                // Behind the end of this connection the next one's CONNECT may be here.
                if source.pointee.block?.pointee.tailCount ?? 0 == 0 { self.giveBack(index) }
                Linux.shutdownWrite(destination.pointee.fd)
                source.pointee.flags.insert(.flushed)
                return false
            }
        }
        return true
    }

    /// - Returns: whether all ranges went out.
    func sendRanges(_ block: UnsafeMutablePointer<Block>, _ index: UInt32) throws(RelayFailure) -> Bool {
        let (source, destination) = (self.sides[index], self.sides[index ^ 1])
        guard destination.pointee.flags.contains(.writable) else { return false }
        let result: IOResult<Int>
        do throws(SystemError) {
            let (first, count) = (
                block.pointee.vector + block.pointee.firstRange,
                block.pointee.rangeCount - block.pointee.firstRange
            )
            result =
                count == 1
                ? try Linux.send(destination.pointee.fd, first.pointee.iov_base, first.pointee.iov_len)
                : try Linux.send(destination.pointee.fd, vector: first, count: count)
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
                        if opened.isStreamEnd { source.pointee.flags.insert(.ended) }
                        if opened.isEnd {
                            source.pointee.flags.formUnion([.ended, .closeReceived])
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
        var room = block.pointee.capacity - block.pointee.tailEnd
        if source.pointee.flags.contains(.exactReads) { room = min(room, Self.restOfRecord(block)) }
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

    /// Bytes that are missing to the record at the tail, or to its header.
    private static func restOfRecord(_ block: UnsafeMutablePointer<Block>) -> Int {
        let count = block.pointee.tailCount
        if count < RecordLayout.header { return RecordLayout.header - count }
        let header = (block.pointee.base + block.pointee.tailStart).assumingMemoryBound(to: UInt8.self)
        let length = RecordLayout.header + (Int(header[3]) << 8 | Int(header[4]))
        return max(1, length - count)
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

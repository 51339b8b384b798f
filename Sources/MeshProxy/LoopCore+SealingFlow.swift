// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshTunnel

/// Plain bytes into a tunnel, sealed in user space a batch at a time.
extension LoopCore {
    func pumpSealing(_ index: UInt32, _ session: TunnelSession) throws(RelayFailure) -> Bool {
        let (source, destination) = (self.sides[index], self.sides[index ^ 1])
        for _ in 0..<self.stepsLeft {
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
                    if !session.isReusable { Linux.shutdownWrite(destination.pointee.fd) }
                    source.pointee.flags.insert(.flushed)
                    return false
                }
                source.pointee.flags.insert(.closeSealed)
                let block = self.block(of: source)
                do throws(TunnelError) {
                    block.pointee.end =
                        session.isReusable
                        ? try session.sealStreamEnd(block.pointee.base, pool: &self.contexts)
                        : try session.sealCloseNotify(block.pointee.base, pool: &self.contexts)
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
        let records = block.pointee.isLarge && source.pointee.flags.contains(.bulk) ? self.blocks.batch : 1
        let result: IOResult<Int>
        do throws(SystemError) {
            if records == 1 {
                result = try Linux.receive(source.pointee.fd, base + RecordLayout.header, RecordLayout.content)
            } else {
                for record in 0..<records {
                    vector[record] = iovec(
                        iov_base: base + (record * RecordLayout.stride + RecordLayout.header),
                        iov_len: RecordLayout.content)
                }
                result = try Linux.read(source.pointee.fd, vector: vector, count: records)
            }
        } catch {
            throw .read(index, error)
        }
        switch result {
        case .wouldBlock:
            source.pointee.flags.remove(.readable)
        case .done(0):
            source.pointee.flags.remove(.readable)
            if !source.pointee.flags.contains(.broken) { source.pointee.flags.insert(.ended) }
        case .done(let count):
            if count < records * RecordLayout.content, !source.pointee.flags.contains(.hangUp) {
                source.pointee.flags.remove(.readable)
            }
            // A full record says that more may wait: then a batch is read at a time.
            if count < Self.trickle {
                source.pointee.flags.remove(.bulk)
            } else if count >= RecordLayout.content {
                source.pointee.flags.insert(.bulk)
            }
            do throws(TunnelError) {
                block.pointee.start = 0
                block.pointee.end = try session.seal(base, count: count, pool: &self.contexts)
            } catch { throw .tunnel(error) }
            source.pointee.bytes += UInt64(count)
        }
    }
}

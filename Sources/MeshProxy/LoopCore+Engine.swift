// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshModel
import MeshTunnel

/// Handing an established tunnel to the kernel, or keeping it here.
extension LoopCore {
    /// Prepares the socket of a tunnel that may become the kernel's, before its handshake.
    ///
    /// Trap T6: once the peer has sent its FIN, which it may do together with its Finished, the kernel refuses.
    func prepareKernel(_ index: UInt32) {
        guard self.settings.engine.engine == .kernel else { return }
        let side = self.sides[index]
        do throws(SystemError) {
            try Linux.prepareTLS(side.pointee.fd)
            side.pointee.flags.insert(.exactReads)
        } catch {
            self.statistics.kernelRefusals += 1
        }
    }

    /// Decides which engine drives a connection that begins to relay. The kernel gets it where this node wants that, the
    /// peer is of our own making (trap T5: it will never send a KeyUpdate), and not a byte is in between.
    ///
    /// - Returns: whether the connection still lives.
    func takeEngine(_ connection: Connection) -> Bool {
        guard let session = connection.session else { return true }
        connection.record.engine = .user
        let index =
            self.sides[connection.index].pointee.flags.contains(.tunnel) ? connection.index : connection.server
        let side = self.sides[index]
        let isPrepared = side.pointee.flags.contains(.exactReads)
        side.pointee.flags.remove(.exactReads)
        let peer = connection.setup?.peerCapabilities
        session.peerHasFixedKeys = peer?.fixedKeys ?? false
        guard isPrepared, peer != nil, !session.isReusable else { return true }
        let (account, receipts): (WireAccount, WireAccount)
        do throws(SystemError) {
            // What was sealed here must be in TCP, and what was received must be opened, before the kernel goes on.
            guard try self.flush(toward: index), (side.pointee.block?.pointee.tailCount ?? 0) == 0,
                !side.pointee.flags.contains(.ended), !session.mustUpdateKey
            else {
                self.statistics.kernelRefusals += 1
                return true
            }
            let counts = try Linux.streamCounts(side.pointee.fd)
            account = WireAccount(firstSequence: session.sentSequence, firstBytes: counts.written)
            receipts = WireAccount(firstSequence: session.receivedSequence, firstBytes: counts.read)
            try session.install(.receiving, on: side.pointee.fd)
        } catch {
            // Nothing has changed; the session goes on here with the same keys and numbers.
            self.statistics.kernelRefusals += 1
            return true
        }
        do throws(SystemError) {
            try session.install(.sending, on: side.pointee.fd)
            connection.kernel = KernelTunnel(suite: session.suite, account: account, receipts: receipts)
        } catch {
            // One direction is the kernel's already and cannot be taken back.
            connection.record.detail = "kernel TLS took one direction only: \(error)"
            self.close(connection, .resourceExhausted)
            return false
        }
        connection.session = nil
        connection.record.engine = .kernel
        self.statistics.kernelTunnels += 1
        // Records may be there whose edge was told before the installation.
        side.pointee.flags.insert(.readable)
        return true
    }
}

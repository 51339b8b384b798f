// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// The process at the other end of a connection, by a descriptor that never means another one.
package final class PeerProcess: Sendable {
    private let descriptor: FileDescriptor

    /// - Throws: ESRCH when it has ended already.
    package init(of connection: borrowing PacketConnection) throws(SystemError) {
        let raw = connection.raw
        self.descriptor = FileDescriptor(owning: try systemCall("pidfd_open") { nm_peer_process(raw) })
    }

    /// Kills it, unless it ends by itself before.
    ///
    /// - Parameters:
    ///   - grace: milliseconds that it has to end by itself.
    ///   - milliseconds: how long to wait for its end afterwards.
    /// - Returns: whether it had to be killed.
    /// - Throws: EPERM when it may not be killed, ETIMEDOUT when it has not ended in time.
    @discardableResult
    package func end(grace: Int, milliseconds: Int) throws(SystemError) -> Bool {
        let raw = self.descriptor.raw
        if try DescriptorMessage.wait(raw, milliseconds: grace) { return false }
        _ = try systemCall("pidfd_send_signal") { nm_kill_process(raw) }
        guard try DescriptorMessage.wait(raw, milliseconds: milliseconds) else {
            throw SystemError(call: "pidfd_send_signal", errno: ETIMEDOUT)
        }
        return true
    }
}

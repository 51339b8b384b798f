// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// A connection to another process of this host that keeps the boundaries of messages and carries descriptors
/// (AF_UNIX, SOCK_SEQPACKET). Calls block.
package struct PacketConnection: ~Copyable, Sendable {
    private let descriptor: FileDescriptor

    package init(owning raw: CInt) { self.descriptor = FileDescriptor(owning: raw) }

    /// - Throws: ENOENT or ECONNREFUSED when nobody listens there.
    package init(to address: UnixAddress) throws(SystemError) {
        let socket = FileDescriptor(owning: try systemCall("socket") { nm_unix_packets() })
        try address.connect(socket.raw)
        self.descriptor = socket
    }

    package var raw: CInt { self.descriptor.raw }

    /// Who is at the other end, as the kernel says: the process that connected or listened.
    package borrowing func peer() throws(SystemError) -> (pid: Int32, uid: UInt32) {
        let raw = self.descriptor.raw
        var (pid, uid) = (Int32(0), UInt32(0))
        _ = try systemCall("getsockopt") { nm_peer_credentials(raw, &pid, &uid) }
        return (pid, uid)
    }

    package borrowing func send(_ bytes: [UInt8], _ descriptors: [CInt] = []) throws(SystemError) {
        try DescriptorMessage.send(bytes, descriptors, to: self.descriptor.raw, isBlocking: true)
    }

    /// The next message; nil: the other side has closed. The descriptors are the caller's.
    ///
    /// - Throws: ETIMEDOUT when none comes within that many milliseconds.
    package borrowing func receive(
        limit: Int = 65_536, milliseconds: Int
    ) throws(SystemError) -> (bytes: [UInt8], descriptors: [CInt])? {
        guard try DescriptorMessage.wait(self.descriptor.raw, milliseconds: milliseconds) else {
            throw SystemError(call: "recvmsg", errno: ETIMEDOUT)
        }
        guard let message = try DescriptorMessage.receive(self.descriptor.raw, limit: limit) else {
            throw SystemError(call: "recvmsg", errno: EAGAIN)
        }
        return message.bytes.isEmpty && message.descriptors.isEmpty ? nil : message
    }
}

/// Where other processes of this host connect; the file at its path lasts as long as it does.
package final class PacketListener: Sendable {
    private let descriptor: FileDescriptor
    private let stopping: WakeUp
    private let path: String

    /// A file that is there is removed first: whoever calls knows that nobody listens there.
    ///
    /// - Parameter path: absolute; for this user alone.
    package init(path: String) throws(SystemError) {
        guard let address = UnixAddress(path) else { throw SystemError(call: "bind", errno: EINVAL) }
        try FileTree.remove(path)
        let socket = FileDescriptor(owning: try systemCall("socket") { nm_unix_packets() })
        let raw = socket.raw
        // So that the file is nobody else's from the first moment on.
        _ = try systemCall("fchmod") { fchmod(raw, 0o600) }
        try address.bind(raw)
        _ = try systemCall("listen") { listen(raw, 4) }
        self.descriptor = socket
        self.stopping = try WakeUp()
        self.path = path
    }

    /// The next connection, for which it waits; nil after ``stop()``.
    package func accept() throws(SystemError) -> PacketConnection? {
        var entries = [
            pollfd(fd: self.descriptor.raw, events: Int16(POLLIN), revents: 0),
            pollfd(fd: self.stopping.raw, events: Int16(POLLIN), revents: 0),
        ]
        _ = try systemCall("poll") { poll(&entries, 2, -1) }
        if entries[1].revents != 0 { return nil }
        let raw = self.descriptor.raw
        return PacketConnection(owning: try systemCall("accept4") { nm_unix_accept(raw) })
    }

    /// Has ``accept()`` return, now or when it is called, and removes the file.
    package func stop() {
        try? FileTree.remove(self.path)
        self.stopping.signal()
    }
}

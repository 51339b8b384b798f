// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// A network namespace, kept alive by an open descriptor.
package final class NetworkNamespace: Sendable {
    let descriptor: FileDescriptor
    /// What names it while it lives: two values with one inode are one namespace.
    package let inode: UInt64

    /// - Parameter path: such as `/proc/42/ns/net` or `/run/netns/name`.
    package convenience init(path: String) throws(SystemError) {
        try self.init(descriptor: FileDescriptor(path: path))
    }

    /// Takes over an open namespace descriptor.
    package init(descriptor: consuming FileDescriptor) throws(SystemError) {
        let inode = nm_namespace_inode(descriptor.raw)
        if inode == 0 { throw SystemError(call: "fstat", errno: errno) }
        self.descriptor = descriptor
        self.inode = inode
    }

    /// The namespace the process was started in (that of its first thread).
    package static func ofProcess() throws(SystemError) -> NetworkNamespace {
        try NetworkNamespace(path: "/proc/self/ns/net")
    }

    /// Moves the calling thread here, for the sockets it will make; needs CAP_SYS_ADMIN. Free when it is here already.
    ///
    /// Only for threads of our own (``OSThread``): Swift's shared threads must never leave the process's namespace.
    package func enter() throws(SystemError) {
        let (raw, inode) = (self.descriptor.raw, self.inode)
        _ = try systemCall("setns") { nm_enter_network(raw, inode) }
    }
}

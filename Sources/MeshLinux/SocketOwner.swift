// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// Who listens on a Unix socket.
package enum SocketOwner {
    /// The process that made the listener at `path` (`SO_PEERCRED`).
    ///
    /// - Throws: ENOENT when there is no such socket, ECONNREFUSED when nobody listens.
    package static func process(listeningAt path: String) throws(SystemError) -> Int32 {
        let raw = try systemCall("socket") {
            socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        }
        let descriptor = FileDescriptor(owning: raw)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let fits = withUnsafeMutableBytes(of: &address.sun_path) { space in
            guard path.utf8.count < space.count else { return false }
            space.copyBytes(from: path.utf8)
            return true
        }
        guard fits else { throw SystemError(call: "connect", errno: ENAMETOOLONG) }
        _ = try systemCall("connect") {
            withUnsafePointer(to: address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(descriptor.raw, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
        }
        // struct ucred, which Swift does not import: process, user, group.
        var credentials: [Int32] = [0, 0, 0]
        var size = socklen_t(credentials.count * MemoryLayout<Int32>.size)
        _ = try systemCall("getsockopt") {
            credentials.withUnsafeMutableBytes {
                getsockopt(descriptor.raw, SOL_SOCKET, SO_PEERCRED, $0.baseAddress, &size)
            }
        }
        return credentials[0]
    }
}

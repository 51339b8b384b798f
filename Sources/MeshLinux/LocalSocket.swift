// SPDX-License-Identifier: Apache-2.0
import Glibc

/// A socket connected to a Unix socket by its path. Closed with its last reference.
package final class LocalSocket: Sendable {
    package enum Kind: Sendable { case stream, datagram }

    private let descriptor: FileDescriptor

    /// - Parameter timeout: seconds that a send may wait for the reader.
    package init(connectingTo path: String, _ kind: Kind, timeout: Int) throws(SystemError) {
        let type = CInt(kind == .stream ? SOCK_STREAM.rawValue : SOCK_DGRAM.rawValue)
        let socket = FileDescriptor(
            owning: try systemCall("socket") { Glibc.socket(AF_UNIX, type | CInt(SOCK_CLOEXEC.rawValue), 0) })
        let raw = socket.raw
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw SystemError(call: "connect", errno: ENAMETOOLONG)
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        var limit = timeval(tv_sec: timeout, tv_usec: 0)
        _ = try systemCall("setsockopt") {
            setsockopt(raw, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        _ = try systemCall("connect") {
            withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.connect(raw, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
        }
        self.descriptor = socket
    }

    /// Sends bytes: all of them on a datagram socket, maybe fewer on a stream.
    ///
    /// - Throws: EAGAIN when the reader takes nothing for too long.
    package func send(_ bytes: ArraySlice<UInt8>) throws(SystemError) -> Int {
        let raw = self.descriptor.raw
        return try systemCall("send") {
            bytes.withUnsafeBytes { Glibc.send(raw, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
        }
    }
}

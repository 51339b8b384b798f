// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel

@testable import MeshProxy

/// A port that refuses connections as long as this value lives: a socket holds it, so that no listener of another test
/// gets it, and does not listen.
final class ClosedPort: Sendable {
    let address: SocketAddress
    private let socket: FileDescriptor

    init() throws {
        let socket = try Linux.tcpSocket()
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let result = withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket.raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if result != 0 { throw SystemError(call: "bind", errno: errno) }
        self.address = SocketAddress(try Linux.localEndpoint(socket.raw))
        self.socket = socket
    }
}

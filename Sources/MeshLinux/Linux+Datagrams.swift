// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

extension Linux {
    /// A non-blocking UDP socket in the calling thread's network namespace.
    package static func udpSocket(_ family: AddressFamily) throws(SystemError) -> FileDescriptor {
        FileDescriptor(owning: try systemCall("socket") { nm_socket_udp(family == .ipv6 ? 1 : 0) })
    }

    /// A UDP socket bound to an address, which it shares with others of the same kind (SO_REUSEPORT); an IPv6 one takes
    /// nothing but IPv6.
    package static func udpListener(at endpoint: Endpoint) throws(SystemError) -> FileDescriptor {
        let socket = try Self.udpSocket(endpoint.family)
        let raw = socket.raw
        _ = try systemCall("setsockopt") { nm_setsockopt_int(raw, nm_sol_socket, nm_so_reuseport, 1) }
        if endpoint.family == .ipv6 {
            _ = try systemCall("setsockopt") { nm_setsockopt_int(raw, nm_ipproto_ipv6, nm_ipv6_v6only, 1) }
        }
        let address = endpoint.address
        _ = try systemCall("bind") { withUnsafePointer(to: address) { nm_bind(raw, $0) } }
        return socket
    }

    /// Bytes, of which the kernel makes twice as many; past the system's limit for who may.
    package static func forceReceiveBuffer(_ fd: CInt, _ size: CInt) throws(SystemError) {
        _ = try systemCall("setsockopt") { nm_force_receive_buffer(fd, size) }
    }

    /// The next datagram, cut to the buffer's size, and its sender.
    package static func receiveFrom(
        _ fd: CInt, into buffer: inout [UInt8]
    ) throws(SystemError) -> IOResult<(count: Int, sender: Endpoint)> {
        var sender = nm_address()
        var bytes = consume buffer
        defer { buffer = bytes }
        let result = try nonBlockingCall("recvfrom") {
            bytes.withUnsafeMutableBytes { nm_recv_from(fd, $0.baseAddress, $0.count, &sender) }
        }
        switch result {
        case .done(let count): return .done((count, Endpoint(sender)))
        case .wouldBlock: return .wouldBlock
        }
    }

    package static func send(_ fd: CInt, _ bytes: [UInt8], to receiver: Endpoint) throws(SystemError) -> IOResult<Int> {
        let address = receiver.address
        return try nonBlockingCall("sendto") {
            bytes.withUnsafeBytes { bytes in
                withUnsafePointer(to: address) { nm_send_to(fd, bytes.baseAddress, bytes.count, $0) }
            }
        }
    }

    /// As ``receive(_:_:_:)``.
    package static func receive(_ fd: CInt, into buffer: inout [UInt8]) throws(SystemError) -> IOResult<Int> {
        var bytes = consume buffer
        defer { buffer = bytes }
        return try nonBlockingCall("recv") { bytes.withUnsafeMutableBytes { nm_recv(fd, $0.baseAddress, $0.count) } }
    }

    /// As ``send(_:_:_:)``.
    package static func send(_ fd: CInt, _ bytes: [UInt8]) throws(SystemError) -> IOResult<Int> {
        try nonBlockingCall("send") { bytes.withUnsafeBytes { nm_send(fd, $0.baseAddress, $0.count) } }
    }

    /// The number of an interface of the calling thread's network namespace; nil: there is none.
    package static func interfaceIndex(_ name: String) -> UInt32? {
        let index = nm_interface_index(name)
        return index == 0 ? nil : index
    }
}

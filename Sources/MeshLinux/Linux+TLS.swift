// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// Kernel TLS 1.3 on a connected TCP socket. There is no way back: a socket keeps the protocol and its keys until it is
/// closed.
extension Linux {
    package enum TLSDirection: Sendable { case sending, receiving }

    /// Prepares a socket. What passes it stays unchanged until ``installTLS(_:_:suite:key:iv:sequence:)``.
    ///
    /// - Throws: ENOENT when the kernel has no TLS, ENOTCONN when the socket is not, or not any more, fully connected.
    package static func prepareTLS(_ fd: CInt) throws(SystemError) {
        _ = try systemCall("setsockopt(TCP_ULP)") { nm_set_ulp_tls(fd) }
    }

    /// Lets the kernel seal or open what passes from now on. Bytes that wait to be received already are records to it.
    ///
    /// - Parameters:
    ///   - suite: as on the wire (RFC 8446 §B.4).
    ///   - sequence: of the next record.
    /// - Throws: ENOENT when the kernel lacks the cipher; the socket is then as it was.
    package static func installTLS(
        _ fd: CInt, _ direction: TLSDirection, suite: UInt16, key: UnsafePointer<UInt8>, iv: UnsafePointer<UInt8>,
        sequence: UInt64
    ) throws(SystemError) {
        _ = try systemCall(direction == .sending ? "setsockopt(TLS_TX)" : "setsockopt(TLS_RX)") {
            nm_tls_install(fd, direction == .receiving ? 1 : 0, suite, key, iv, sequence)
        }
    }

    /// The number of the next record that the kernel will seal, or open.
    package static func sequenceOfTLS(
        _ fd: CInt, _ direction: TLSDirection, suite: UInt16
    ) throws(SystemError) -> UInt64 {
        var sequence: UInt64 = 0
        _ = try systemCall(direction == .sending ? "getsockopt(TLS_TX)" : "getsockopt(TLS_RX)") {
            nm_tls_sequence(fd, direction == .receiving ? 1 : 0, suite, &sequence)
        }
        return sequence
    }

    /// Sends one record that is no application data, such as an alert.
    package static func sendTLSRecord(_ fd: CInt, type: UInt8, _ content: [UInt8]) throws(SystemError) -> IOResult<Int>
    {
        try nonBlockingCall("sendmsg") { nm_tls_send_record(fd, type, content, content.count) }
    }

    /// Up to `count` bytes of content of one type of record; 0 bytes mean the end of the TCP stream.
    @inline(__always)
    package static func receiveTLS(
        _ fd: CInt, _ buffer: UnsafeMutableRawPointer, _ count: Int, type: inout UInt8
    ) throws(SystemError) -> IOResult<Int> {
        try nonBlockingCall("recvmsg") { nm_tls_receive(fd, buffer, count, &type) }
    }

    /// Bytes that have reached this socket's TCP since it was connected. Reads low, never high, when some of them are
    /// acknowledged meanwhile.
    package static func bytesInTCP(_ fd: CInt) throws(SystemError) -> UInt64 {
        var acknowledged: UInt64 = 0
        // In this order: what is acknowledged between the two calls is counted in neither.
        _ = try systemCall("getsockopt(TCP_INFO)") { nm_tcp_acknowledged(fd, &acknowledged) }
        return acknowledged + UInt64(try systemCall("ioctl(SIOCOUTQ)") { nm_tcp_unacknowledged(fd) })
    }
}

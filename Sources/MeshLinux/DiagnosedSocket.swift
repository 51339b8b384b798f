// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// A TCP socket as the kernel describes it (sock_diag(7)).
package struct DiagnosedSocket: Sendable {
    /// One end of it: an address in 128-bit form (IPv4 as `::ffff:a.b.c.d`) and a port, in host order.
    package struct End: Hashable, Sendable {
        package let high: UInt64
        package let low: UInt64
        package let port: UInt16

        package init(high: UInt64, low: UInt64, port: UInt16) {
            self.high = high
            self.low = low
            self.port = port
        }
    }

    /// `net/tcp_states.h`.
    package enum State: UInt8, Sendable, CaseIterable {
        case established = 1
        case synSent, synReceived, finWait1, finWait2, timeWait, close, closeWait, lastAck, listen, closing
        /// A handshake that has not been accepted yet.
        case newSynReceived
    }

    /// What a connection has carried so far; payload bytes, microseconds.
    package struct Figures: Hashable, Sendable {
        package let bytesSent: UInt64
        package let bytesAcknowledged: UInt64
        package let bytesReceived: UInt64
        package let smoothedRTT: UInt32
        package let leastRTT: UInt32
    }

    let raw: nm_diag_socket

    package let local: End
    package let remote: End
    package let state: State

    init?(_ raw: nm_diag_socket) {
        guard let state = State(rawValue: raw.state) else { return nil }
        self.raw = raw
        self.state = state
        self.local = End(raw.local)
        self.remote = End(raw.remote)
    }

    /// Whether it is an IPv6 socket; its addresses may be IPv4 ones all the same.
    package var isIPv6: Bool { self.raw.family == UInt8(AF_INET6) }
    /// The kernel's number for the socket, never used twice (`SO_COOKIE`).
    package var cookie: UInt64 { self.raw.cookie }
    /// 0 when no process holds it any more.
    package var inode: UInt64 { UInt64(self.raw.inode) }
    /// Of the process that made it, 0 if unknown; see ``Cgroup/id``.
    package var cgroupID: UInt64 { self.raw.cgroup }
    /// Bytes that the application has not read; of a listener: connections it has not accepted.
    package var unread: UInt32 { self.raw.unread }
    /// Bytes that the peer has not acknowledged; of a listener: how many connections may wait.
    package var unacknowledged: UInt32 { self.raw.unacknowledged }
    /// All zero unless they were asked for.
    package var figures: Figures {
        Figures(
            bytesSent: self.raw.bytes_sent, bytesAcknowledged: self.raw.bytes_acknowledged,
            bytesReceived: self.raw.bytes_received, smoothedRTT: self.raw.smoothed_rtt, leastRTT: self.raw.least_rtt)
    }
}

extension DiagnosedSocket.End {
    init(_ raw: nm_diag_end) {
        let (high, low) = withUnsafeBytes(of: raw.ip) {
            ($0.loadUnaligned(as: UInt64.self), $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        }
        self.init(high: UInt64(bigEndian: high), low: UInt64(bigEndian: low), port: raw.port)
    }
}

extension nm_diag_end {
    init(_ end: DiagnosedSocket.End) {
        self.init()
        self.port = end.port
        withUnsafeMutableBytes(of: &self.ip) { bytes in
            bytes.storeBytes(of: end.high.bigEndian, as: UInt64.self)
            bytes.storeBytes(of: end.low.bigEndian, toByteOffset: 8, as: UInt64.self)
        }
    }
}

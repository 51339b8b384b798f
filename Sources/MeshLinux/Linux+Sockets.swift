// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// The system calls of the data plane, by descriptor number. Each is non-blocking and returns within microseconds.
package enum Linux {}

extension Linux {
    /// A non-blocking TCP socket in the calling thread's network namespace.
    package static func tcpSocket(_ family: AddressFamily = .ipv4) throws(SystemError) -> FileDescriptor {
        FileDescriptor(owning: try systemCall("socket") { nm_socket_tcp(family == .ipv6 ? 1 : 0) })
    }

    /// A listening socket that shares its port with others of the same kind (SO_REUSEPORT). At `::` it takes IPv4 as
    /// well; at any other IPv6 address nothing but that.
    package static func tcpListener(
        at endpoint: Endpoint, backlog: CInt = 4096
    ) throws(SystemError) -> FileDescriptor {
        let socket = try Self.tcpSocket(endpoint.family)
        let raw = socket.raw
        try Self.setOption(raw, nm_sol_socket, nm_so_reuseaddr, 1)
        try Self.setOption(raw, nm_sol_socket, nm_so_reuseport, 1)
        if endpoint.family == .ipv6 {
            // Not left to net.ipv6.bindv6only.
            try Self.setOption(raw, nm_ipproto_ipv6, nm_ipv6_v6only, endpoint.isUnspecified ? 0 : 1)
        }
        let address = endpoint.address
        _ = try systemCall("bind") { withUnsafePointer(to: address) { nm_bind(raw, $0) } }
        _ = try systemCall("listen") { listen(raw, backlog) }
        return socket
    }

    /// One waiting connection and its peer's address.
    package static func accept(_ fd: CInt) throws(SystemError) -> IOResult<Accepted> {
        var peer = nm_address()
        switch try nonBlockingCall("accept4", { nm_accept(fd, &peer) }) {
        case .done(let raw): return .done(Accepted(raw: raw, peer: Endpoint(peer)))
        case .wouldBlock: return .wouldBlock
        }
    }

    /// What ``accept(_:)`` returns. The caller owns `raw`.
    package struct Accepted: Sendable {
        package let raw: CInt
        package let peer: Endpoint
    }

    /// Begins to connect; `.wouldBlock` means that epoll will say when it is made, and ``socketError(_:)`` how it went.
    ///
    /// - Parameter fd: a socket of the endpoint's family.
    package static func connect(_ fd: CInt, to endpoint: Endpoint) throws(SystemError) -> IOResult<CInt> {
        let address = endpoint.address
        do throws(SystemError) {
            return .done(try systemCall("connect") { withUnsafePointer(to: address) { nm_connect(fd, $0) } })
        } catch {
            if error.errno == EINPROGRESS { return .wouldBlock }
            throw error
        }
    }

    /// The socket's own address.
    package static func localEndpoint(_ fd: CInt) throws(SystemError) -> Endpoint {
        var address = nm_address()
        _ = try systemCall("getsockname") { nm_getsockname(fd, &address) }
        return Endpoint(address)
    }

    /// The connected peer's address.
    package static func peerEndpoint(_ fd: CInt) throws(SystemError) -> Endpoint {
        var address = nm_address()
        _ = try systemCall("getpeername") { nm_getpeername(fd, &address) }
        return Endpoint(address)
    }

    /// The socket's pending error as an `errno`, 0 for none (SO_ERROR); reading clears it.
    package static func socketError(_ fd: CInt) -> CInt {
        let code = nm_socket_error(fd)
        return code == -1 ? errno : code
    }

    /// What TCP knows of a connected socket's path (TCP_INFO); nil when the socket is none.
    package static func pathInfo(_ fd: CInt) -> PathInfo? {
        var info = nm_tcp_info()
        guard nm_tcp_info(fd, &info) == 0 else { return nil }
        return PathInfo(
            smoothedRTT: info.smoothed_rtt, leastRTT: info.least_rtt, retransmitted: info.retransmitted_segments,
            sent: info.sent_segments)
    }

    /// Round-trip times in microseconds, and segments since the connection began.
    package struct PathInfo: Sendable, Hashable {
        package var smoothedRTT: UInt32
        package var leastRTT: UInt32
        package var retransmitted: UInt32
        package var sent: UInt32

        package init(smoothedRTT: UInt32, leastRTT: UInt32, retransmitted: UInt32, sent: UInt32) {
            self.smoothedRTT = smoothedRTT
            self.leastRTT = leastRTT
            self.retransmitted = retransmitted
            self.sent = sent
        }

        /// The latency (nanoseconds) as which the path counts among others. A receiver that delays its
        /// acknowledgements makes the smoothed time long on a short path, so it counts up to four times the least; each
        /// tenth of segments that had to be sent again makes it nearly twice as long.
        package var cost: UInt64 {
            let least = UInt64(self.leastRTT)
            let time = min(UInt64(self.smoothedRTT), least == 0 ? .max : max(4 * least, 1000))
            return time * 1000 + time * 8000 * UInt64(self.retransmitted) / UInt64(max(1, self.sent))
        }
    }

    package static func setNoDelay(_ fd: CInt) throws(SystemError) {
        try Self.setOption(fd, nm_ipproto_tcp, nm_tcp_nodelay, 1)
    }

    /// Finds dead peers: probes after `idle` seconds of silence, gives up after `timeout` milliseconds without an
    /// answer, be it to a probe or to data (TCP_USER_TIMEOUT).
    package static func setKeepAlive(
        _ fd: CInt, idle: CInt, interval: CInt, count: CInt, timeout: CInt
    ) throws(SystemError) {
        try Self.setOption(fd, nm_sol_socket, nm_so_keepalive, 1)
        try Self.setOption(fd, nm_ipproto_tcp, nm_tcp_keepidle, idle)
        try Self.setOption(fd, nm_ipproto_tcp, nm_tcp_keepintvl, interval)
        try Self.setOption(fd, nm_ipproto_tcp, nm_tcp_keepcnt, count)
        try Self.setOption(fd, nm_ipproto_tcp, nm_tcp_user_timeout, timeout)
    }

    /// Sizes in bytes; the kernel doubles them and stops tuning them.
    package static func setBufferSizes(_ fd: CInt, send: CInt?, receive: CInt?) throws(SystemError) {
        if let send { try Self.setOption(fd, nm_sol_socket, nm_so_sndbuf, send) }
        if let receive { try Self.setOption(fd, nm_sol_socket, nm_so_rcvbuf, receive) }
    }

    /// Ends our direction with FIN. A socket that is no longer connected is no error.
    package static func shutdownWrite(_ fd: CInt) { _ = Glibc.shutdown(fd, CInt(SHUT_WR)) }

    /// Makes a listening socket refuse connections, whoever else holds it. One that listens no longer is no error.
    package static func stopListening(_ fd: CInt) { _ = Glibc.shutdown(fd, CInt(SHUT_RDWR)) }

    /// From now on the last close of the socket sends RST, however it comes about: when the process is killed, nobody
    /// takes what has arrived for all there was. Sockets that a listener accepts are like it (SO_LINGER, socket(7)).
    package static func resetOnClose(_ fd: CInt) { _ = nm_set_reset_on_close(fd, 1) }

    package static func close(_ fd: CInt) { _ = Glibc.close(fd) }

    /// Closes a TCP socket; what was sent still arrives, then FIN.
    package static func finish(_ fd: CInt) {
        _ = nm_set_reset_on_close(fd, 0)
        _ = Glibc.close(fd)
    }

    /// Closes a TCP socket with RST; what was not sent is lost.
    package static func reset(_ fd: CInt) {
        Self.resetOnClose(fd)
        _ = Glibc.close(fd)
    }

    /// Two connected Unix stream sockets; the caller owns both.
    package static func socketPair() throws(SystemError) -> (CInt, CInt) {
        var fds: [CInt] = [-1, -1]
        _ = try systemCall("socketpair") { fds.withUnsafeMutableBufferPointer { nm_socketpair($0.baseAddress) } }
        return (fds[0], fds[1])
    }

    private static func setOption(
        _ fd: CInt, _ level: CInt, _ option: CInt, _ value: CInt
    ) throws(SystemError) {
        _ = try systemCall("setsockopt") { nm_setsockopt_int(fd, level, option, value) }
    }
}

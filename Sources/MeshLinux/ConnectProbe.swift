// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// One TCP connect, tried and given up: what becomes of it is all that counts.
package enum ConnectProbe {
    package enum Outcome: Equatable, Sendable {
        /// Somebody accepted it.
        case connected
        /// ECONNREFUSED, EPERM and so on; ETIMEDOUT when nothing came in time.
        case failed(errno: CInt)
    }

    /// Connects from the calling thread's cgroup and network namespace, and closes again.
    ///
    /// - Parameters:
    ///   - bytes: the address: four or sixteen bytes in network order.
    ///   - timeout: in milliseconds.
    package static func connect(to bytes: [UInt8], port: UInt16, timeout: Int) throws(SystemError) -> Outcome {
        let isIPv4 = bytes.count == 4
        let raw = try systemCall("socket") {
            socket(isIPv4 ? AF_INET : AF_INET6, Int32(SOCK_STREAM.rawValue) | nm_sock_nonblock_cloexec, 0)
        }
        let descriptor = FileDescriptor(owning: raw)
        let result = bytes.withUnsafeBytes { nm_connect_bytes(descriptor.raw, $0.baseAddress, $0.count, port) }
        if result == 0 { return .connected }
        guard errno == EINPROGRESS else { return .failed(errno: errno) }
        var waiting = pollfd(fd: descriptor.raw, events: Int16(POLLOUT), revents: 0)
        let ready = try systemCall("poll") { poll(&waiting, 1, CInt(clamping: timeout)) }
        if ready == 0 { return .failed(errno: ETIMEDOUT) }
        let code = nm_socket_error(descriptor.raw)
        return code == 0 ? .connected : .failed(errno: code)
    }

    /// Makes the loopback interface of the calling thread's network namespace work.
    package static func raiseLoopback() throws(SystemError) {
        _ = try systemCall("ioctl(SIOCSIFFLAGS)") { nm_raise_loopback() }
    }
}

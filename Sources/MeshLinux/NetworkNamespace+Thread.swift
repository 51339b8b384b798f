// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

extension NetworkNamespace {
    /// The namespace a process lives in.
    package convenience init(pid: Int32) throws(SystemError) {
        try self.init(path: "/proc/\(pid)/ns/net")
    }

    /// A new, empty namespace, which ends with its last handle, socket and process.
    package static func create() throws(SystemError) -> NetworkNamespace {
        let raw = try Self.onThread { () throws(SystemError) -> CInt in
            _ = try systemCall("unshare(CLONE_NEWNET)") { nm_unshare_network() }
            return try FileDescriptor(path: "/proc/thread-self/ns/net").release()
        }
        return try NetworkNamespace(descriptor: FileDescriptor(owning: raw))
    }

    /// The descriptor's number, valid while this value lives: for system calls that take a namespace.
    package var raw: CInt { self.descriptor.raw }

    /// The kernel's number for the namespace, never used twice (`SO_NETNS_COOKIE`, Linux 5.14).
    package func cookie() throws(SystemError) -> UInt64 {
        try self.run { () throws(SystemError) -> UInt64 in
            let socket = try Linux.tcpSocket()
            return try Linux.namespaceCookie(ofSocket: socket.raw)
        }
    }

    /// Runs `body` inside the namespace and waits for it. Sockets it makes stay there wherever they are used later.
    ///
    /// `body` gets a thread of its own, which ends with it: no other thread ever sees the namespace.
    package func run<T: Sendable>(
        _ body: @escaping @Sendable () throws(SystemError) -> T
    ) throws(SystemError) -> T {
        try Self.onThread { () throws(SystemError) -> T in
            try self.enter()
            return try body()
        }
    }

    private static func onThread<T: Sendable>(
        _ body: @escaping @Sendable () throws(SystemError) -> T
    ) throws(SystemError) -> T {
        let outcome = Outcome<T>()
        let thread = try OSThread(name: "nm-namespace") { outcome.result = Result(catching: body) }
        thread.join()
        guard let result = outcome.result else { throw SystemError(call: "pthread_join", errno: EINVAL) }
        return try result.get()
    }

    /// Written by the thread before it ends and read after it was joined, hence unchecked.
    private final class Outcome<T: Sendable>: @unchecked Sendable {
        var result: Result<T, SystemError>?
    }
}

extension Linux {
    /// The cookie of the namespace a socket lives in, see ``NetworkNamespace/cookie()``.
    package static func namespaceCookie(ofSocket fd: CInt) throws(SystemError) -> UInt64 {
        var cookie: UInt64 = 0
        _ = try systemCall("getsockopt(SO_NETNS_COOKIE)") { nm_netns_cookie(fd, &cookie) }
        return cookie
    }
}

extension Linux {
    /// Whether a socket is of IPv6, which may take IPv4 as well.
    package static func isIPv6(socket fd: CInt) throws(SystemError) -> Bool {
        var (family, size) = (CInt(0), socklen_t(MemoryLayout<CInt>.size))
        _ = try systemCall("getsockopt(SO_DOMAIN)") { getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) }
        return family == AF_INET6
    }
}

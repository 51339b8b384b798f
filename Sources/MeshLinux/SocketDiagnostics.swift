// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// The TCP sockets of one network namespace, whoever holds them (`NETLINK_SOCK_DIAG`).
///
/// Blocks for as long as the kernel walks its tables: never on a data-plane loop. One thread at a time.
package struct SocketDiagnostics: ~Copyable, Sendable {
    private let socket: FileDescriptor

    /// Of the calling thread's network namespace.
    package init() throws(SystemError) {
        self.socket = FileDescriptor(owning: try systemCall("socket(NETLINK_SOCK_DIAG)") { nm_diag_open() })
    }

    /// Of a given one. The value may be kept and used on any thread.
    package init(in namespace: NetworkNamespace) throws(SystemError) {
        let raw = try namespace.run { () throws(SystemError) -> CInt in
            try systemCall("socket(NETLINK_SOCK_DIAG)") { nm_diag_open() }
        }
        self.socket = FileDescriptor(owning: raw)
    }

    /// The TCP sockets of both families.
    ///
    /// - Parameters:
    ///   - states: those to list.
    ///   - cgroup: list only sockets made in this very cgroup (not below it), see ``Cgroup/id``.
    ///   - withFigures: fill in ``DiagnosedSocket/figures``, which costs more.
    /// - Throws: EINTR when the sockets changed too fast to be listed once each; try again.
    package borrowing func dump(
        states: Set<DiagnosedSocket.State>, cgroup: UInt64? = nil, withFigures: Bool = false
    ) throws(SystemError) -> [DiagnosedSocket] {
        let mask = states.reduce(UInt32(0)) { $0 | 1 << UInt32($1.rawValue) }
        var sockets: [DiagnosedSocket] = []
        // An IPv6 dump of dual-stack sockets does not hold those of AF_INET, and the other way round.
        for family in [AF_INET, AF_INET6] {
            let raw = self.socket.raw
            _ = try systemCall("sendto(SOCK_DIAG_BY_FAMILY)") {
                nm_diag_ask(raw, family, mask, withFigures ? 1 : 0, cgroup ?? 0)
            }
            try self.collect(into: &sockets)
        }
        return sockets
    }

    private borrowing func collect(into sockets: inout [DiagnosedSocket]) throws(SystemError) {
        var part = [nm_diag_socket](repeating: nm_diag_socket(), count: Int(NM_DIAG_PART))
        var isDone: CInt = 0
        let raw = self.socket.raw
        repeat {
            let count = try systemCall("recv(SOCK_DIAG_BY_FAMILY)") {
                nm_diag_receive(raw, &part, part.count, &isDone)
            }
            sockets.append(contentsOf: part.prefix(count).lazy.compactMap { DiagnosedSocket($0) })
        } while isDone == 0
    }

    /// Ends one socket, unless it is gone already: its application reads ECONNABORTED, the other end gets a reset.
    ///
    /// - Returns: whether it was still there.
    /// - Throws: EOPNOTSUPP where the kernel was built without `CONFIG_INET_DIAG_DESTROY`.
    @discardableResult
    package borrowing func destroy(_ socket: DiagnosedSocket) throws(SystemError) -> Bool {
        try self.destroy(socket.raw)
    }

    /// As ``destroy(_:)``, for a connected socket of which only this much is known.
    @discardableResult
    package borrowing func destroy(
        local: DiagnosedSocket.End, remote: DiagnosedSocket.End, cookie: UInt64
    ) throws(SystemError) -> Bool {
        var raw = nm_diag_socket()
        // The kernel finds IPv6 sockets with IPv4 addresses among those of AF_INET too.
        raw.family = UInt8(local.high == 0 && local.low >> 32 == 0xffff ? AF_INET : AF_INET6)
        raw.state = DiagnosedSocket.State.established.rawValue
        raw.local = nm_diag_end(local)
        raw.remote = nm_diag_end(remote)
        raw.cookie = cookie
        return try self.destroy(raw)
    }

    private borrowing func destroy(_ raw: nm_diag_socket) throws(SystemError) -> Bool {
        let fd = self.socket.raw
        do throws(SystemError) {
            _ = try systemCall("SOCK_DESTROY (needs CONFIG_INET_DIAG_DESTROY)") {
                withUnsafePointer(to: raw) { nm_diag_destroy(fd, $0) }
            }
            return true
        } catch {
            if error.errno == ENOENT { return false }
            throw error
        }
    }
}

extension SocketDiagnostics {
    /// See ``dump(states:cgroup:withFigures:)``, of a namespace that is looked at once.
    package static func dump(
        in namespace: NetworkNamespace, states: Set<DiagnosedSocket.State>, cgroup: UInt64? = nil,
        withFigures: Bool = false
    ) throws(SystemError) -> [DiagnosedSocket] {
        try SocketDiagnostics(in: namespace).dump(states: states, cgroup: cgroup, withFigures: withFigures)
    }

    /// See ``destroy(_:)``.
    @discardableResult
    package static func destroy(
        _ socket: DiagnosedSocket, in namespace: NetworkNamespace
    ) throws(SystemError) -> Bool {
        try SocketDiagnostics(in: namespace).destroy(socket)
    }

    /// Whether this kernel can end sockets (`CONFIG_INET_DIAG_DESTROY`).
    package static var canDestroy: Bool {
        do throws(SystemError) {
            // Nobody has it.
            let end = DiagnosedSocket.End(high: 0, low: 0xffff_0000_0000, port: 1)
            _ = try SocketDiagnostics().destroy(local: end, remote: end, cookie: 1)
            return true
        } catch {
            return false
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// Tries whether TCP gets from an address in one network namespace to an address in another as it is: by a route, through
/// every filter, and without translation on the way. Blocks for at most half a second.
package enum PathProbe {
    /// An address in 128-bit form, see ``DiagnosedSocket/End``; the port does not count.
    package typealias End = DiagnosedSocket.End

    private static let patience: CInt = 250

    /// - Parameter admit: called before the SYN with both ends, and with false afterwards: the target's namespace may hand
    ///   strangers' connections to somebody else.
    /// - Returns: whether a listener there was reached and saw the very address and port that the client has.
    package static func isOpen(
        from source: (namespace: NetworkNamespace, address: End),
        to target: (namespace: NetworkNamespace, address: End),
        admit: (_ client: End, _ server: End, _ isOn: Bool) -> Bool
    ) -> Bool {
        guard let listener = try? Self.socket(in: target.namespace, at: target.address),
            nm_path_listen(listener.raw) == 0,
            let client = try? Self.socket(in: source.namespace, at: source.address),
            let server = Self.name(of: listener), let own = Self.name(of: client)
        else { return false }
        let ends = (DiagnosedSocket.End(own), DiagnosedSocket.End(server))
        defer { _ = admit(ends.0, ends.1, false) }
        guard admit(ends.0, ends.1, true),
            withUnsafePointer(to: server, { nm_path_connect(client.raw, $0, Self.patience) }) == 0
        else { return false }
        var peer = nm_diag_end()
        let raw = withUnsafeMutablePointer(to: &peer) { nm_path_accept(listener.raw, $0, Self.patience) }
        guard raw >= 0 else { return false }
        // Closed at once, in either order: nothing was said.
        _ = FileDescriptor(owning: raw)
        return DiagnosedSocket.End(peer) == ends.0
    }

    private static func socket(in namespace: NetworkNamespace, at address: End) throws(SystemError) -> FileDescriptor {
        let raw = try namespace.run { () throws(SystemError) -> CInt in
            try systemCall("bind") { withUnsafePointer(to: nm_diag_end(address).ip) { nm_path_bind($0) } }
        }
        return FileDescriptor(owning: raw)
    }

    private static func name(of socket: borrowing FileDescriptor) -> nm_diag_end? {
        var end = nm_diag_end()
        let raw = socket.raw
        return withUnsafeMutablePointer(to: &end) { nm_path_name(raw, $0) } == 0 ? end : nil
    }

    /// A C array is a tuple here.
    private static func nm_path_bind<T>(_ ip: UnsafePointer<T>) -> CInt {
        ip.withMemoryRebound(to: UInt8.self, capacity: 16) { nm_path_socket($0) }
    }
}

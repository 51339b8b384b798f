// SPDX-License-Identifier: Apache-2.0
import MeshLinux

/// A socket that several parts know of; closed with the last of them.
final class SocketHolder: Sendable {
    private let descriptor: FileDescriptor
    var raw: CInt { self.descriptor.raw }

    init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }
}

/// A socket at which queries arrive, and what is to be known of it.
struct NameSocket: Sendable {
    let holder: SocketHolder
    let isIPv4: Bool
    /// Index of its port.
    let place: Int
    let isStream: Bool

    var raw: CInt { self.holder.raw }

    static func endpoint(isIPv4: Bool, port: UInt16) -> Endpoint { .loopback(isIPv4 ? .ipv4 : .ipv6, port: port) }

    /// Whether it still is one, at this port.
    func serves(_ port: UInt16) -> Bool {
        guard let endpoint = try? Linux.localEndpoint(self.raw) else { return false }
        return endpoint == Self.endpoint(isIPv4: self.isIPv4, port: port)
            && Linux.isListening(self.raw) == self.isStream
    }

    /// Ends it though copies of it may be held elsewhere: a listener closes, and of datagrams none comes here any more,
    /// but to a socket opened since at the same port.
    func retire() {
        if self.isStream { return Linux.stopListening(self.raw) }
        // Connected to itself it hears nobody else.
        guard let own = try? Linux.localEndpoint(self.raw) else { return }
        _ = try? Linux.connect(self.raw, to: own)
    }
}

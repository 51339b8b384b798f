// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// A resolver in the configuration: an address, and a port where that is not 53.
package struct DNSUpstream: Sendable, Hashable, LosslessStringConvertible {
    package let address: SocketAddress

    private static let standardPort: UInt16 = 53

    /// Parses `192.0.2.53`, `2001:db8::53`, `192.0.2.53:5353` or `[2001:db8::53]:5353`.
    package init?(_ text: String) {
        if let ip = IPAddress(text) {
            self.address = SocketAddress(ip: ip, port: Self.standardPort)
        } else {
            guard let address = SocketAddress(text) else { return nil }
            self.address = address
        }
        guard !self.address.ip.isUnspecified else { return nil }
    }

    package var description: String {
        self.address.port == Self.standardPort ? self.address.ip.description : self.address.description
    }

    /// Where nodemeshd itself answers: asking there would lead round.
    package var isOwn: Bool { self.address.ip.isLoopback && (15_053...15_055).contains(self.address.port) }
}

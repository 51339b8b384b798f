// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// What `resolv.conf(5)` says of whom to ask.
package enum ResolverConfiguration {
    /// More are not asked.
    private static let maximum = 8

    /// The name servers in a file's text, in order; without any the host itself, as the manual says.
    ///
    /// - Parameter scope: the number of an interface by name, for link-local addresses such as `fe80::1%eth0`.
    package static func servers(in text: String, scope: (String) -> UInt32?) -> [Upstream] {
        var servers: [Upstream] = []
        for line in text.split(whereSeparator: \.isNewline) {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard words.count >= 2, words[0] == "nameserver" else { continue }
            let parts = words[1].split(separator: "%", maxSplits: 1)
            guard let first = parts.first, let address = IPAddress(String(first)), !address.isUnspecified else {
                continue
            }
            var interface: UInt32 = 0
            if parts.count == 2 {
                guard let found = scope(String(parts[1])) else { continue }
                interface = found
            }
            let server = Upstream(address: address, scope: interface)
            if !servers.contains(server) { servers.append(server) }
        }
        return servers.isEmpty ? [Upstream(address: IPAddress(ipv4: 0x7f00_0001))] : Array(servers.prefix(Self.maximum))
    }
}

/// A resolver that can be asked.
package struct Upstream: Hashable, Sendable, CustomStringConvertible {
    package let address: IPAddress
    package let port: UInt16
    /// The interface of a link-local IPv6 address.
    package let scope: UInt32
    /// The network namespace from which it is asked, by inode; nil: the host's.
    package let namespace: UInt64?

    package static let standardPort: UInt16 = 53

    package init(
        address: IPAddress, port: UInt16 = Self.standardPort, scope: UInt32 = 0, namespace: UInt64? = nil
    ) {
        self.address = address
        self.port = port
        self.scope = scope
        self.namespace = namespace
    }

    package var description: String {
        self.port == Self.standardPort
            ? self.address.description : SocketAddress(ip: self.address, port: self.port).description
    }
}

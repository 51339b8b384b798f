// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// A host, by name or address, and a port.
package struct HostPort: Sendable, Hashable, LosslessStringConvertible {
    package let host: String
    package let port: UInt16

    package init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Parses `name:port`, `address:port` or `[v6]:port`.
    package init?(_ text: String) {
        if let address = SocketAddress(text) {
            guard address.port > 0 else { return nil }
            self.init(host: address.ip.description, port: address.port)
            return
        }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let port = UInt16(parts[1]), port != 0, (1...253).contains(parts[0].utf8.count),
            parts[0].utf8.allSatisfy(Self.isNameByte), parts[0].first != "-", parts[0].first != "."
        else { return nil }
        self.init(host: String(parts[0]), port: port)
    }

    package var description: String {
        self.host.contains(":") ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)"
    }

    /// Of a host name; `_` is not in the standard but in the field.
    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// A transport address: an IP address and a TCP port in host order.
package struct SocketAddress: Hashable, Sendable {
    package let ip: IPAddress
    package let port: UInt16

    package init(ip: IPAddress, port: UInt16) {
        self.ip = ip
        self.port = port
    }
}

extension SocketAddress: LosslessStringConvertible {
    /// Parses `a.b.c.d:port` or `[v6]:port`; port 0 is refused.
    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        var host = text[..<colon]
        let digits = text[text.index(after: colon)...]
        if host.first == "[" {
            guard host.last == "]", host.count > 2 else { return nil }
            host = host.dropFirst().dropLast()
            guard host.contains(":") else { return nil }
        } else if host.contains(":") {
            return nil
        }
        guard let ip = IPAddress(String(host)), digits.utf8.allSatisfy({ (48...57).contains($0) }),
            let port = UInt16(digits), port != 0
        else { return nil }
        self.init(ip: ip, port: port)
    }

    package var description: String { self.ip.isIPv4 ? "\(self.ip):\(self.port)" : "[\(self.ip)]:\(self.port)" }
}

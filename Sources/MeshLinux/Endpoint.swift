// SPDX-License-Identifier: Apache-2.0
import CMeshLinux

/// An IP address of either family and a port, as the socket calls take them.
package struct Endpoint: Hashable, Sendable {
    /// The first eight bytes of the address and the last, in host order; IPv4 is `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2).
    package var high: UInt64
    package var low: UInt64
    package var port: UInt16
    /// The interface of a link-local IPv6 address, else 0: without it the kernel does not know which link is meant.
    package var scope: UInt32

    package init(high: UInt64, low: UInt64, port: UInt16, scope: UInt32 = 0) {
        self.high = high
        self.low = low
        self.port = port
        self.scope = scope
    }

    /// - Parameter ipv4: in host order.
    package init(ipv4: UInt32, port: UInt16) {
        self.init(high: 0, low: 0xffff_0000_0000 | UInt64(ipv4), port: port)
    }

    /// 127.0.0.1 or ::1.
    package static func loopback(_ family: AddressFamily = .ipv4, port: UInt16) -> Self {
        family == .ipv4 ? Self(ipv4: 0x7f00_0001, port: port) : Self(high: 0, low: 1, port: port)
    }

    package var family: AddressFamily { self.high == 0 && self.low >> 32 == 0xffff ? .ipv4 : .ipv6 }

    /// 0.0.0.0 or `::`.
    package var isUnspecified: Bool { self.high == 0 && (self.low == 0 || self.low == 0xffff_0000_0000) }

    init(_ address: nm_address) {
        self.init(high: address.high, low: address.low, port: address.port, scope: address.scope)
    }

    var address: nm_address { nm_address(high: self.high, low: self.low, scope: self.scope, port: self.port) }
}

package enum AddressFamily: Hashable, Sendable { case ipv4, ipv6 }

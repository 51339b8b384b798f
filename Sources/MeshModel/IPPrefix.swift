// SPDX-License-Identifier: Apache-2.0

/// A CIDR block.
package struct IPPrefix: Hashable, Sendable {
    /// The network address, host bits zero.
    package let address: IPAddress
    /// Prefix length in the address's own family: 0...32 for IPv4, 0...128 for IPv6.
    package let length: Int

    /// Host bits are cleared; nil when `length` is out of range for the family.
    package init?(address: IPAddress, length: Int) {
        let width = address.isIPv4 ? 32 : 128
        guard (0...width).contains(length) else { return nil }
        let mask = Self.mask(address.isIPv4 ? length + 96 : length)
        self.address = IPAddress(high: address.high & mask.high, low: address.low & mask.low)
        self.length = length
    }

    /// The one address.
    package init(_ address: IPAddress) {
        self.address = address
        self.length = address.isIPv4 ? 32 : 128
    }

    /// Prefix length in the 128-bit form.
    package var mappedLength: Int { self.address.isIPv4 ? self.length + 96 : self.length }

    package func contains(_ other: IPAddress) -> Bool {
        let mask = Self.mask(self.mappedLength)
        return other.high & mask.high == self.address.high && other.low & mask.low == self.address.low
            && other.isIPv4 == self.address.isIPv4
    }

    private static func mask(_ length: Int) -> (high: UInt64, low: UInt64) {
        (
            length <= 0 ? 0 : length >= 64 ? .max : ~(.max >> UInt64(length)),
            length <= 64 ? 0 : length >= 128 ? .max : ~(.max >> UInt64(length - 64))
        )
    }
}

extension IPPrefix: LosslessStringConvertible {
    /// Parses `address/length`, or an address alone for the host prefix.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPAddress(String(first)) else { return nil }
        if parts.count == 1 {
            self.init(address)
            return
        }
        guard parts[1].utf8.allSatisfy({ (48...57).contains($0) }), let length = Int(parts[1]) else { return nil }
        self.init(address: address, length: length)
    }

    package var description: String { "\(self.address)/\(self.length)" }
}

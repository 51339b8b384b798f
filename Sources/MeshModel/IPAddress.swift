// SPDX-License-Identifier: Apache-2.0

/// An IP address of either family, held as its 128-bit form (IPv4 as `::ffff:a.b.c.d`, RFC 4291 §2.5.5.2).
package struct IPAddress: Hashable, Sendable {
    /// The first eight bytes in network order.
    package let high: UInt64
    /// The last eight bytes in network order.
    package let low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// An IPv4 address from its 32-bit value (127.0.0.1 is 0x7f000001).
    package init(ipv4 value: UInt32) {
        self.init(high: 0, low: 0xffff_0000_0000 | UInt64(value))
    }

    /// From 4 or 16 bytes in network order; nil for any other count.
    package init?(bytes: some Collection<UInt8>) {
        switch bytes.count {
        case 4:
            self.init(ipv4: bytes.reduce(0) { $0 << 8 | UInt32($1) })
        case 16:
            self.init(
                high: bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) },
                low: bytes.dropFirst(8).reduce(0) { $0 << 8 | UInt64($1) })
        default:
            return nil
        }
    }

    package var isIPv4: Bool { self.high == 0 && self.low >> 32 == 0xffff }

    /// The 32-bit value of an IPv4 address, nil for IPv6.
    package var ipv4: UInt32? { self.isIPv4 ? UInt32(truncatingIfNeeded: self.low) : nil }

    package var isLoopback: Bool {
        if let value = self.ipv4 { return value >> 24 == 127 }
        return self.high == 0 && self.low == 1
    }

    /// 169.254.0.0/16 (RFC 3927) or fe80::/10 (RFC 4291 §2.5.6).
    package var isLinkLocal: Bool {
        if let value = self.ipv4 { return value >> 16 == 0xa9fe }
        return self.high >> 54 == 0xfe80 >> 6
    }

    /// 0.0.0.0 or `::`.
    package var isUnspecified: Bool { self.high == 0 && (self.low == 0 || self.low == 0xffff_0000_0000) }

    /// Sixteen bytes in network order.
    package var bytes16: [UInt8] {
        [self.high, self.low].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * $0)) } }
    }

    /// Four bytes for IPv4, sixteen for IPv6, in network order.
    package var bytes: [UInt8] { self.isIPv4 ? Array(self.bytes16.suffix(4)) : self.bytes16 }
}

extension IPAddress: LosslessStringConvertible {
    /// Parses dotted IPv4 or RFC 4291 IPv6 text; no zone, no prefix length, no leading zeros in IPv4.
    package init?(_ text: String) {
        if text.contains(":") {
            guard let bytes = Self.parseIPv6(text) else { return nil }
            self.init(bytes: bytes)
        } else {
            guard let value = Self.parseIPv4(text[...]) else { return nil }
            self.init(ipv4: value)
        }
    }

    private static func parseIPv4(_ text: Substring) -> UInt32? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var value: UInt32 = 0
        for part in parts {
            guard (1...3).contains(part.count), part.utf8.allSatisfy({ (48...57).contains($0) }),
                part.count == 1 || part.first != "0", let byte = UInt8(part)
            else { return nil }
            value = value << 8 | UInt32(byte)
        }
        return value
    }

    private static func parseIPv6(_ text: String) -> [UInt8]? {
        let halves = text.components(separatedBy: "::")
        guard halves.count <= 2 else { return nil }
        guard let head = groups(halves[0]), let tail = halves.count == 2 ? groups(halves[1]) : [] else { return nil }
        // An IPv4 address may stand at the end of the whole text only.
        if halves.count == 2, halves[0].contains(".") { return nil }
        if halves.count == 1 { return head.count == 16 ? head : nil }
        guard head.count + tail.count <= 14 else { return nil }
        return head + [UInt8](repeating: 0, count: 16 - head.count - tail.count) + tail
    }

    private static func groups(_ text: String) -> [UInt8]? {
        if text.isEmpty { return [] }
        var bytes: [UInt8] = []
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count <= 8 else { return nil }
        for (index, part) in parts.enumerated() {
            if part.contains("."), index == parts.count - 1, let value = parseIPv4(part) {
                bytes += (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) }
            } else {
                guard (1...4).contains(part.count), let value = UInt16(part, radix: 16), part.first != "+" else {
                    return nil
                }
                bytes += [UInt8(value >> 8), UInt8(truncatingIfNeeded: value)]
            }
        }
        return bytes
    }

    /// Dotted text for IPv4, RFC 5952 text for IPv6.
    package var description: String {
        if let value = self.ipv4 {
            return "\(value >> 24).\(value >> 16 & 255).\(value >> 8 & 255).\(value & 255)"
        }
        let bytes = self.bytes16
        let groups = (0..<8).map { UInt16(bytes[2 * $0]) << 8 | UInt16(bytes[2 * $0 + 1]) }
        var (best, start) = (0..<0, 0)
        while start < 8 {
            var end = start
            while end < 8, groups[end] == 0 { end += 1 }
            if end - start > max(best.count, 1) { best = start..<end }
            start = end + 1
        }
        let hex = { (part: ArraySlice<UInt16>) in part.map { String($0, radix: 16) }.joined(separator: ":") }
        if best.isEmpty { return hex(groups[...]) }
        return hex(groups[..<best.lowerBound]) + "::" + hex(groups[best.upperBound...])
    }
}

extension String {
    fileprivate func components(separatedBy separator: String) -> [String] {
        var (parts, rest) = ([String](), self[...])
        while let range = rest.firstRange(of: separator) {
            parts.append(String(rest[..<range.lowerBound]))
            rest = rest[range.upperBound...]
        }
        return parts + [String(rest)]
    }
}

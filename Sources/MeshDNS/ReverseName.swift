// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// The names under which addresses are looked up (RFC 1035 §3.5, RFC 3596 §2.5).
package enum ReverseName {
    private static let (domain4, domain6) = (DNSName("in-addr.arpa"), DNSName("ip6.arpa"))

    /// The whole address that a name stands for; nil for anything else.
    package static func address(of name: DNSName) -> IPAddress? {
        guard let domain4, let domain6 else { return nil }
        if let labels = name.labels(within: domain4) {
            guard labels.count == 4 else { return nil }
            return IPAddress(labels.reversed().map { String(decoding: $0, as: UTF8.self) }.joined(separator: "."))
        }
        guard let labels = name.labels(within: domain6), labels.count == 32 else { return nil }
        var halves: (UInt64, UInt64) = (0, 0)
        for (index, label) in labels.reversed().enumerated() {
            guard label.count == 1, let byte = label.first,
                let digit = UInt64(String(UnicodeScalar(byte)), radix: 16), byte != 43, byte != 45
            else { return nil }
            if index < 16 { halves.0 = halves.0 << 4 | digit } else { halves.1 = halves.1 << 4 | digit }
        }
        return IPAddress(high: halves.0, low: halves.1)
    }

    package static func name(of address: IPAddress) -> DNSName? {
        if let value = address.ipv4 {
            return DNSName(
                (0..<4).map { String(value >> (8 * UInt32($0)) & 255) }.joined(separator: ".") + ".in-addr.arpa")
        }
        let digits = address.bytes16.flatMap { [$0 >> 4, $0 & 15] }.reversed().map { String($0, radix: 16) }
        return DNSName(digits.joined(separator: ".") + ".ip6.arpa")
    }
}

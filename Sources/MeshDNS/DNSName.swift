// SPDX-License-Identifier: Apache-2.0

/// A domain name (RFC 1035 §3.1), in lower case: two names that differ only in case are one.
package struct DNSName: Hashable, Sendable {
    /// Labels, each behind its length, and the root's zero: 1 to 255 bytes.
    package let wire: [UInt8]

    static let maximumLength = 255
    static let maximumLabel = 63
    package static let root = DNSName(checked: [0])

    /// - Parameter wire: a valid name without pointers.
    init(checked wire: [UInt8]) {
        // A length is below 64 and so no letter.
        self.wire = wire.map { (65...90).contains($0) ? $0 | 0x20 : $0 }
    }

    package init?(labels: [[UInt8]]) {
        var wire: [UInt8] = []
        for label in labels {
            guard (1...Self.maximumLabel).contains(label.count) else { return nil }
            wire.append(UInt8(label.count))
            wire += label
        }
        wire.append(0)
        guard wire.count <= Self.maximumLength else { return nil }
        self.init(checked: wire)
    }

    /// The labels, first to last, without the root's.
    package var labels: [ArraySlice<UInt8>] {
        var (labels, offset) = ([ArraySlice<UInt8>](), 0)
        while self.wire[offset] != 0 {
            let end = offset + 1 + Int(self.wire[offset])
            labels.append(self.wire[offset + 1..<end])
            offset = end
        }
        return labels
    }

    /// The labels before `domain`; nil when the name is not within it. The domain itself has none.
    package func labels(within domain: DNSName) -> [ArraySlice<UInt8>]? {
        let (labels, end) = (self.labels, domain.labels)
        guard labels.count >= end.count, labels.suffix(end.count).elementsEqual(end, by: { $0.elementsEqual($1) })
        else { return nil }
        return Array(labels.dropLast(end.count))
    }
}

extension DNSName: LosslessStringConvertible {
    /// Parses dotted text of letters, digits, `-` and `_`, with or without the final dot; `.` is the root.
    package init?(_ text: String) {
        if text == "." {
            self = .root
            return
        }
        let body = text.last == "." ? text.dropLast() : text[...]
        let labels = body.split(separator: ".", omittingEmptySubsequences: false).map { Array($0.utf8) }
        let isAllowed = { (byte: UInt8) in
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 45
                || byte == 95
        }
        guard labels.allSatisfy({ $0.allSatisfy(isAllowed) }) else { return nil }
        self.init(labels: labels)
    }

    /// Without the final dot; what is not printable, and dots inside of labels, as `\DDD` (RFC 1035 §5.1).
    package var description: String {
        let labels = self.labels
        if labels.isEmpty { return "." }
        return labels.map { label in
            label.reduce(into: "") { text, byte in
                if (33...126).contains(byte), byte != 46, byte != 92 {
                    text.unicodeScalars.append(Unicode.Scalar(byte))
                } else {
                    let digits = String(byte)
                    text += "\\" + String(repeating: "0", count: 3 - digits.count) + digits
                }
            }
        }.joined(separator: ".")
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Values of W3C baggage.
enum Baggage {
    /// Percent-encodes everything but letters, digits and `-._~`.
    static func encode(_ text: String) -> String {
        var encoded = ""
        for byte in text.utf8 {
            switch byte {
            case 48...57, 65...90, 97...122, 45, 46, 95, 126: encoded.append(Character(Unicode.Scalar(byte)))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                encoded += byte < 16 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return encoded
    }

    /// The members by name, properties dropped, malformed ones left out; of two with one name the first.
    static func decode(_ text: String) -> [String: String] {
        var values: [String: String] = [:]
        for member in text.split(separator: ",").prefix(32) {
            let pair = member.prefix { $0 != ";" }.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard pair.count == 2, let value = Self.unescape(pair[1]) else { continue }
            let name = pair[0].filter { $0 != " " && $0 != "\t" }
            if values[name] == nil { values[name] = value }
        }
        return values
    }

    private static func unescape(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            if byte == 32 || byte == 9 { continue }
            guard byte == 37 else {
                // Other bytes have to be escaped (W3C baggage §3.3.1).
                guard (33...126).contains(byte) else { return nil }
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst(), let low = rest.popFirst(),
                let value = UInt8(String(decoding: [high, low], as: UTF8.self), radix: 16), (32...126).contains(value)
            else { return nil }
            bytes.append(value)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshModel

/// Parsers of the values on the command line, each saying what it wants.
package enum Values {
    /// A DNS label (RFC 1123), the form of every name in the mesh.
    package static func label(_ text: String) throws -> String {
        guard (1...63).contains(text.utf8.count), text.utf8.allSatisfy(Self.isLabelByte), text.first != "-",
            text.last != "-"
        else { throw ValidationError("'\(text)' is not a name: use lower-case letters, digits and '-', at most 63.") }
        return text
    }

    /// `NAMESPACE/NAME`.
    package static func workload(_ text: String) throws -> WorkloadID {
        guard let id = WorkloadID(text) else {
            throw ValidationError("'\(text)' is not a workload: write NAMESPACE/NAME, such as default/web.")
        }
        return WorkloadID(namespace: try Self.label(id.namespace), name: try Self.label(id.name))
    }

    /// A workload, or the address of somebody outside the mesh.
    package static func client(_ text: String) throws -> String {
        if IPAddress(text) != nil { return text }
        do {
            return try Self.workload(text).description
        } catch {
            throw ValidationError(
                "'\(text)' is not a source: write NAMESPACE/NAME of a workload, such as default/web, or an IP address.")
        }
    }

    /// `KEY=VALUE`.
    package static func keyValue(_ text: String) throws -> Pair {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty else {
            throw ValidationError("'\(text)' is not a label: write KEY=VALUE, such as app=web.")
        }
        return Pair(key: String(parts[0]), value: String(parts[1]))
    }

    /// One label.
    package struct Pair: Sendable, Hashable {
        package var key: String
        package var value: String

        package init(key: String, value: String) {
            self.key = key
            self.value = value
        }
    }

    /// A share in endpoint choice.
    package static func weight(_ text: String) throws -> Int {
        guard let weight = Int(text), (1...1_000_000).contains(weight) else {
            throw ValidationError("'\(text)' is not a weight: use a whole number from 1 to 1000000.")
        }
        return weight
    }

    package static func address(_ text: String) throws -> IPAddress {
        guard let address = IPAddress(text) else { throw ValidationError("'\(text)' is not an IP address.") }
        return address
    }

    package static func port(_ text: String) throws -> UInt16 {
        guard text.allSatisfy(\.isASCIIDigit), let port = UInt16(text), port > 0 else {
            throw ValidationError("'\(text)' is not a port: use a number from 1 to 65535.")
        }
        return port
    }

    /// `HOST:PORT`, the host a name, an IPv4 address or an IPv6 address in brackets.
    package static func hostPort(_ text: String) throws -> String {
        if SocketAddress(text) != nil { return text }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, (1...253).contains(parts[0].utf8.count), parts[0].first != "-",
            parts[0].utf8.allSatisfy({ Self.isLabelByte($0 | 0x20) || $0 == UInt8(ascii: ".") }),
            (try? Self.port(String(parts[1]))) != nil
        else {
            throw ValidationError("'\(text)' is not HOST:PORT, such as control.example:15012 or [fd00::1]:15012.")
        }
        return text
    }

    /// `sha256:` and 64 hexadecimal digits.
    package static func fingerprint(_ text: String) throws -> String {
        let hex = text.dropFirst("sha256:".count)
        guard text.hasPrefix("sha256:"), hex.utf8.count == 64, hex.allSatisfy(\.isHexDigit) else {
            throw ValidationError("'\(text)' is not a fingerprint: sha256: and 64 hexadecimal digits.")
        }
        return text.lowercased()
    }

    package static func prefix(_ text: String) throws -> IPPrefix {
        guard let prefix = IPPrefix(text) else {
            throw ValidationError(
                "'\(text)' is not a CIDR block: write ADDRESS/LENGTH, such as 10.1.0.0/16 or fd00::/8.")
        }
        return prefix
    }

    /// Seconds from `90s`, `15m`, `2h`, `1d` or a chain of them such as `1h30m`; at most a year.
    package static func duration(_ text: String) throws -> Int {
        let units: [Character: Int] = ["s": 1, "m": 60, "h": 3600, "d": 86400]
        var (total, number) = (0, "")
        for character in text {
            if character.isASCIIDigit, number.count < 9 {
                number.append(character)
            } else if let unit = units[character], let value = Int(number), value * unit <= 366 * 86400 {
                (total, number) = (total + value * unit, "")
            } else {
                total = 0
                break
            }
        }
        guard number.isEmpty, (1...366 * 86400).contains(total) else {
            throw ValidationError("'\(text)' is not a duration: write 90s, 15m, 2h or 1d, at most 366d.")
        }
        return total
    }

    /// Where a connection would go: `IP:PORT`, `[IPv6]:PORT` or `NAME:PORT`, the name completed as a host name of the
    /// mesh seen from `namespace`, if there is one.
    package static func destination(_ text: String, from namespace: String?) throws -> String {
        if let address = SocketAddress(text) { return address.description }
        let problem = ValidationError(
            "'\(text)' is not a destination: write IP:PORT, [IPv6]:PORT or SERVICE[.NAMESPACE[.mesh.internal]]:PORT.")
        guard let colon = text.lastIndex(of: ":"), text[text.index(after: colon)...].allSatisfy(\.isASCIIDigit),
            let port = UInt16(text[text.index(after: colon)...]), port != 0
        else { throw problem }
        var labels = text[..<colon].split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        // Four numbers are a mistyped address, not a name.
        guard labels.allSatisfy({ (try? Self.label($0)) != nil }), IPAddress(String(text[..<colon])) == nil,
            !(labels.count == 4 && labels.allSatisfy { Int($0) != nil })
        else { throw problem }
        if labels.count == 1 {
            guard let namespace else { throw problem }
            labels.append(namespace)
        }
        if labels.count == 2 { labels += ["mesh", "internal"] }
        return "\(labels.joined(separator: ".")):\(port)"
    }

    private static func isLabelByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"): true
        default: false
        }
    }
}

extension Character {
    fileprivate var isASCIIDigit: Bool { ("0"..."9").contains(self) }
}

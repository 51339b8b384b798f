// SPDX-License-Identifier: Apache-2.0

/// A type of record, or of question (RFC 1035 §3.2.2). Unknown ones are carried as any.
package struct RecordType: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let a = Self(rawValue: 1)
    package static let ns = Self(rawValue: 2)
    package static let cname = Self(rawValue: 5)
    package static let soa = Self(rawValue: 6)
    package static let ptr = Self(rawValue: 12)
    package static let mx = Self(rawValue: 15)
    package static let txt = Self(rawValue: 16)
    package static let sig = Self(rawValue: 24)
    package static let aaaa = Self(rawValue: 28)
    package static let srv = Self(rawValue: 33)
    package static let opt = Self(rawValue: 41)
    package static let svcb = Self(rawValue: 64)
    package static let https = Self(rawValue: 65)
    package static let tkey = Self(rawValue: 249)
    package static let tsig = Self(rawValue: 250)
    package static let ixfr = Self(rawValue: 251)
    package static let axfr = Self(rawValue: 252)
    package static let any = Self(rawValue: 255)

    /// Those that have a name here, and so one in metrics.
    private static let names: [(RecordType, String)] = [
        (.a, "A"), (.ns, "NS"), (.cname, "CNAME"), (.soa, "SOA"), (.ptr, "PTR"), (.mx, "MX"), (.txt, "TXT"),
        (.aaaa, "AAAA"), (.srv, "SRV"), (.svcb, "SVCB"), (.https, "HTTPS"), (.any, "ANY"),
    ]

    package var isTransfer: Bool { self == .axfr || self == .ixfr }

    /// Nil for those without a name of their own.
    package var name: String? { Self.names.first { $0.0 == self }?.1 }
}

extension RecordType: LosslessStringConvertible {
    /// Parses a name in any case, or `TYPE65` (RFC 3597).
    package init?(_ text: String) {
        let upper = text.uppercased()
        if let named = Self.names.first(where: { $0.1 == upper })?.0 {
            self = named
        } else {
            guard upper.hasPrefix("TYPE"), let number = UInt16(upper.dropFirst(4)) else { return nil }
            self.init(rawValue: number)
        }
    }

    package var description: String { self.name ?? "TYPE\(self.rawValue)" }
}

// SPDX-License-Identifier: Apache-2.0

/// Numbers with a unit, as Kubernetes and its ecosystem write them.
package enum Measure {
    private static let timeUnits: [(suffix: String, milliseconds: Int64)] = [
        ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000),
    ]

    private static let byteUnits: [(suffix: String, factor: UInt64)] = [
        ("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("Ti", 1 << 40), ("Pi", 1 << 50), ("k", 1_000),
        ("M", 1_000_000), ("G", 1_000_000_000), ("T", 1_000_000_000_000), ("P", 1_000_000_000_000_000), ("", 1),
    ]

    /// A time such as `30s`, `250ms` or `1h30m`: whole numbers, at least a millisecond, at most a day.
    package static func duration(_ text: String) -> Duration? {
        var (rest, total) = (text[...], Int64(0))
        while !rest.isEmpty {
            let digits = rest.prefix { "0"..."9" ~= $0 }
            rest = rest.dropFirst(digits.count)
            let name = rest.prefix { !("0"..."9" ~= $0) }
            rest = rest.dropFirst(name.count)
            guard digits.utf8.count <= 9, let number = Int64(digits),
                let unit = Self.timeUnits.first(where: { $0.suffix == name })
            else { return nil }
            total += number * unit.milliseconds
            if total > 86_400_000 { return nil }
        }
        return total > 0 ? .milliseconds(total) : nil
    }

    /// A quantity such as `500`, `10M` or `1Gi`: a whole number above 0 with a suffix of Kubernetes, below 2^63.
    package static func quantity(_ text: String) -> UInt64? {
        let digits = text.prefix { "0"..."9" ~= $0 }
        let suffix = text.dropFirst(digits.count)
        guard let number = UInt64(digits), number > 0,
            let unit = Self.byteUnits.first(where: { $0.suffix == suffix })
        else { return nil }
        let (value, overflow) = number.multipliedReportingOverflow(by: unit.factor)
        return overflow || value > UInt64(Int64.max) ? nil : value
    }
}

extension Field {
    /// A time that ``Measure/duration(_:)`` reads, as it was written.
    var duration: String? {
        guard case .scalar(let text, _) = self.value.content, Measure.duration(text) != nil else {
            self.report("has to be a time from 1ms to 24h, such as 30s or 1m30s, not \(self.shownValue)")
            return nil
        }
        return text
    }

    /// A number that ``Measure/quantity(_:)`` reads, as it was written.
    var quantity: String? {
        guard case .scalar(let text, _) = self.value.content, Measure.quantity(text) != nil else {
            self.report("has to be a whole number above 0, such as 500, 10M or 1Gi, not \(self.shownValue)")
            return nil
        }
        return text
    }

    /// A limit that lets something through.
    var limit: UInt32? { self.integer(in: 1...Int(UInt32.max)).map { UInt32(truncatingIfNeeded: $0) } }

    private var shownValue: String {
        guard case .scalar(let text, _) = self.value.content, !text.isEmpty else { return self.value.description }
        return String(text.prefix(32))
    }
}

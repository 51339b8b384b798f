// SPDX-License-Identifier: Apache-2.0

import Foundation

/// RFC 3339 in UTC with microseconds.
enum EventTime {
    /// - Parameter nanoseconds: since the Unix epoch.
    static func text(_ nanoseconds: UInt64) -> String {
        let (days, rest) = (Int64(nanoseconds / 86_400_000_000_000), nanoseconds % 86_400_000_000_000)
        let (year, month, day) = Self.date(days)
        let (seconds, micros) = (rest / 1_000_000_000, rest % 1_000_000_000 / 1000)
        return "\(year)-\(Self.two(UInt64(month)))-\(Self.two(UInt64(day)))T\(Self.two(seconds / 3600)):"
            + "\(Self.two(seconds / 60 % 60)):\(Self.two(seconds % 60))."
            + String(String(1_000_000 + micros).dropFirst()) + "Z"
    }

    private static func two(_ number: UInt64) -> String { number < 10 ? "0\(number)" : "\(number)" }

    /// The civil date of a day since 1970-01-01, by eras of 400 years that begin in March.
    private static func date(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days + 719_468
        let (era, inEra) = (shifted / 146_097, shifted % 146_097)
        let inEraYear = (inEra - inEra / 1460 + inEra / 36_524 - inEra / 146_096) / 365
        let inYear = inEra - (365 * inEraYear + inEraYear / 4 - inEraYear / 100)
        let marchMonth = (5 * inYear + 2) / 153
        let day = inYear - (153 * marchMonth + 2) / 5 + 1
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        return (inEraYear + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Quantities as a person reads them; programs get exact numbers from JSON.
package enum Human {
    /// `512 B`, `1.5 KiB`, `3.2 GiB`.
    package static func bytes(_ count: UInt64) -> String {
        if count < 1024 { return "\(count) B" }
        var (value, unit) = (Double(count) / 1024, 0)
        let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
        while value >= 1023.95, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        return String(format: "%.1f ", value) + units[unit]
    }

    /// `0.3s`, `12s`, `5m12s`, `2h05m`, `3d4h`; negative durations read as zero.
    package static func duration(_ seconds: Double) -> String {
        guard seconds >= 0.05 else { return "0s" }
        if seconds < 9.95 { return String(format: "%.1fs", seconds) }
        guard seconds < 1e15 else { return "forever" }
        let total = Int(seconds.rounded())
        let (minutes, hours, days) = (total / 60, total / 3600, total / 86400)
        let padded = { (value: Int) in (value < 10 ? "0" : "") + "\(value)" }
        if total < 60 { return "\(total)s" }
        if hours == 0 { return "\(minutes)m\(padded(total % 60))s" }
        if days == 0 { return "\(hours)h\(padded(minutes % 60))m" }
        return "\(days)d\(hours % 24)h"
    }

    /// `in 23h05m`, or `5m12s ago`.
    package static func relative(_ date: Date, to now: Date) -> String {
        let seconds = date.timeIntervalSince(now)
        return seconds >= 0 ? "in \(self.duration(seconds))" : "\(self.duration(-seconds)) ago"
    }

    /// ISO 8601 in UTC with seconds, as in JSON.
    package static func date(_ date: Date) -> String { date.formatted(.iso8601) }
}

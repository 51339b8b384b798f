// SPDX-License-Identifier: Apache-2.0

/// Which resolvers have answered lately, so that one that does not is asked last for a while.
package struct UpstreamHealth {
    private struct Record {
        var failures = 0
        /// Nanoseconds of the monotonic clock.
        var downUntil: UInt64 = 0
        /// It does not understand EDNS.
        var plainUntil: UInt64 = 0
    }

    /// Workloads choose whom they ask, so there may be any number.
    private static let maximum = 4_096
    private static let second: UInt64 = 1_000_000_000
    private static let tolerance = 3
    private static let pause: UInt64 = 10
    private static let longestPause: UInt64 = 120
    private static let plainPause: UInt64 = 3_600

    private var records: [Upstream: Record] = [:]

    package init() {}

    package func isDown(_ upstream: Upstream, now: UInt64) -> Bool {
        self.records[upstream].map { $0.downUntil > now } ?? false
    }

    package func isPlain(_ upstream: Upstream, now: UInt64) -> Bool {
        self.records[upstream].map { $0.plainUntil > now } ?? false
    }

    /// Those that are asked last now.
    package func down(now: UInt64) -> [Upstream] {
        self.records.filter { $0.value.downUntil > now }.map(\.key)
    }

    package mutating func answered(_ upstream: Upstream) {
        guard self.records[upstream] != nil else { return }
        self.records[upstream]?.failures = 0
        self.records[upstream]?.downUntil = 0
    }

    /// - Parameter isCertain: nobody is there. An answer that does not come may be one question's fault, so that a few have
    ///   to fail in a row.
    package mutating func failed(_ upstream: Upstream, isCertain: Bool, now: UInt64) {
        var record = self.record(upstream, now: now)
        // Those that were asked before it was known.
        if record.downUntil <= now {
            record.failures = min(record.failures + (isCertain ? Self.tolerance : 1), Self.tolerance + 4)
            if record.failures >= Self.tolerance {
                let pause = Self.pause << UInt64(record.failures - Self.tolerance)
                record.downUntil = now + min(Self.longestPause, pause) * Self.second
            }
        }
        self.records[upstream] = record
    }

    package mutating func refusedEDNS(_ upstream: Upstream, now: UInt64) {
        var record = self.record(upstream, now: now)
        record.plainUntil = now + Self.plainPause * Self.second
        self.records[upstream] = record
    }

    private mutating func record(_ upstream: Upstream, now: UInt64) -> Record {
        if let record = self.records[upstream] { return record }
        if self.records.count >= Self.maximum {
            self.records = self.records.filter { $0.value.downUntil > now || $0.value.plainUntil > now }
            if self.records.count >= Self.maximum { self.records = [:] }
        }
        return Record()
    }
}

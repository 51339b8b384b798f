// SPDX-License-Identifier: Apache-2.0

/// A moving average of latencies in one word, so that loops can share it without a lock: microseconds in the upper half,
/// the time of the last sample (milliseconds, wrapping) in the lower.
///
/// It rises fast and falls slowly, and without samples it fades: an endpoint that was slow once is asked again some time
/// later, since nobody would notice otherwise that it has recovered.
struct LatencyEstimate: Equatable {
    /// Half of what is known is forgotten after this many milliseconds without a sample.
    static let halfLife: UInt32 = 10_000

    private(set) var rawValue: UInt64

    init(rawValue: UInt64 = 0) { self.rawValue = rawValue }

    private init(microseconds: UInt32, now: UInt64) {
        self.rawValue = UInt64(microseconds) << 32 | UInt64(Self.stamp(now))
    }

    private static func stamp(_ now: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: now / 1_000_000) }

    /// Microseconds; 0 when nothing is known.
    ///
    /// - Parameter now: nanoseconds of the monotonic clock.
    func microseconds(now: UInt64) -> UInt32 {
        let value = UInt32(truncatingIfNeeded: self.rawValue >> 32)
        if value == 0 { return 0 }
        let age = Self.stamp(now) &- UInt32(truncatingIfNeeded: self.rawValue)
        // Loops read the clock at the begin of their turns, so a sample may come from a little later.
        if age > UInt32.max / 2 { return value }
        let halvings = age / Self.halfLife
        if halvings >= 32 { return 0 }
        let whole = value >> halvings
        // Linear between two halvings.
        let part = UInt64(whole) * UInt64(age % Self.halfLife) / UInt64(2 * Self.halfLife)
        return whole - UInt32(truncatingIfNeeded: part)
    }

    /// - Parameters:
    ///   - sample: nanoseconds.
    ///   - now: nanoseconds of the monotonic clock.
    func observing(_ sample: UInt64, now: UInt64) -> LatencyEstimate {
        let new = UInt64(UInt32(clamping: max(1, sample / 1000)))
        let old = UInt64(self.microseconds(now: now))
        let value = old == 0 ? new : new > old ? (old + new + 1) / 2 : old - (old - new) / 8
        return LatencyEstimate(microseconds: UInt32(clamping: value), now: now)
    }
}

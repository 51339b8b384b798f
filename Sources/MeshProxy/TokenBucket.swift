// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// A rate with a burst of one second's worth, as one number: the time at which the bucket would be full again if nothing
/// more was taken (the generic cell rate algorithm). It has no clock: callers pass nanoseconds of the monotonic one.
struct TokenBucket: Equatable {
    /// What the bucket holds when it is full, as time: one second's worth.
    static let burst: UInt64 = 1_000_000_000

    /// Nanoseconds; later than now by what is missing.
    private(set) var fullAt: UInt64

    init(fullAt: UInt64 = 0) { self.fullAt = fullAt }

    /// Takes tokens if they are there. More than a full bucket holds are there when it is full.
    ///
    /// - Parameter rate: tokens per second, at least 1.
    mutating func take(_ count: UInt64 = 1, rate: UInt64, now: UInt64) -> Bool {
        let start = max(self.fullAt, now)
        let end = start &+ Self.time(of: count, rate: rate)
        guard end &- now <= Self.burst || start == now else { return false }
        self.fullAt = end
        return true
    }

    /// Takes tokens whether they are there or not; what is missing is a debt.
    mutating func spend(_ count: UInt64, rate: UInt64, now: UInt64) {
        self.fullAt = max(self.fullAt, now) &+ Self.time(of: count, rate: rate)
    }

    /// Nanoseconds until a tenth of the bucket is there again, 0 when there is anything: who had to wait should then be
    /// able to do something worth it.
    func wait(now: UInt64) -> UInt64 {
        if self.fullAt < now &+ Self.burst { return 0 }
        return self.fullAt &- now &- Self.burst &+ Self.burst / 10
    }

    /// Saturates at a year, far beyond any sensible debt, so that sums do not overflow.
    private static func time(of count: UInt64, rate: UInt64) -> UInt64 {
        let limit: UInt64 = 31_536_000_000_000_000
        let product = count.multipliedFullWidth(by: 1_000_000_000)
        let rate = max(1, rate)
        if product.high >= rate { return limit }
        return min(limit, rate.dividingFullWidth(product).quotient)
    }
}

/// A ``TokenBucket`` that all loops draw from.
final class SharedBucket: Sendable {
    private let fullAt = Atomic<UInt64>(0)

    func take(rate: UInt64, now: UInt64) -> Bool {
        self.update { $0.take(rate: rate, now: now) }
    }

    func spend(_ count: UInt64, rate: UInt64, now: UInt64) {
        self.update { $0.spend(count, rate: rate, now: now) }
    }

    /// Forgets what is owed.
    func fill() { self.fullAt.store(0, ordering: .relaxed) }

    func wait(now: UInt64) -> UInt64 { TokenBucket(fullAt: self.fullAt.load(ordering: .relaxed)).wait(now: now) }

    private func update<T>(_ body: (inout TokenBucket) -> T) -> T {
        var old = self.fullAt.load(ordering: .relaxed)
        while true {
            var bucket = TokenBucket(fullAt: old)
            let answer = body(&bucket)
            let (exchanged, original) = self.fullAt.weakCompareExchange(
                expected: old, desired: bucket.fullAt, ordering: .relaxed)
            if exchanged { return answer }
            old = original
        }
    }
}

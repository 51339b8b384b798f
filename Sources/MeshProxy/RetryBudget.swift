// SPDX-License-Identifier: Apache-2.0

/// How many further attempts a loop may make, so that retries cannot multiply the load on a service that is failing:
/// a share of the connections, and some per second for when there are few. It has no clock.
struct RetryBudget {
    /// In hundredths of an attempt.
    private var balance: UInt64
    private var refilledAt: UInt64 = 0
    private let percent: UInt64
    private let perSecond: UInt64
    private let most: UInt64

    /// - Parameters:
    ///   - percent: attempts per hundred connections.
    ///   - perSecond: attempts that are there in any case; ten seconds' worth can be saved up.
    init(percent: Int, perSecond: Int) {
        self.percent = UInt64(clamping: percent)
        self.perSecond = UInt64(clamping: perSecond)
        self.most = max(100 * 10 * self.perSecond, self.percent == 0 ? 0 : 1000)
        self.balance = self.most
    }

    /// A connection was begun.
    mutating func deposit() { self.balance = min(self.most, self.balance + self.percent) }

    /// - Returns: whether another attempt may be made.
    mutating func withdraw(now: UInt64) -> Bool {
        if self.refilledAt == 0 { self.refilledAt = now }
        let elapsed = min(now &- self.refilledAt, 10_000_000_000)
        let refill = elapsed * self.perSecond / 10_000_000
        if refill > 0 {
            self.balance = min(self.most, self.balance + refill)
            self.refilledAt = now
        }
        guard self.balance >= 100 else { return false }
        self.balance -= 100
        return true
    }
}

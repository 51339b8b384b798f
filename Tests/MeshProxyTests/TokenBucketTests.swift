// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import MeshProxy

@Suite struct TokenBucketTests {
    private static let second: UInt64 = 1_000_000_000
    private static let start: UInt64 = 77 * TokenBucketTests.second

    /// How many of many takes at one moment are granted.
    private func burst(_ bucket: inout TokenBucket, rate: UInt64, now: UInt64) -> Int {
        var granted = 0
        for _ in 0..<5000 where bucket.take(rate: rate, now: now) { granted += 1 }
        return granted
    }

    @Test(arguments: [1, 2, 7, 1000] as [UInt64]) func `a full bucket holds one second's worth, then fills at its rate`(
        rate: UInt64
    ) {
        var bucket = TokenBucket()
        #expect(self.burst(&bucket, rate: rate, now: Self.start) == Int(rate))
        #expect(self.burst(&bucket, rate: rate, now: Self.start) == 0)
        // Half a second later half of them are back.
        #expect(self.burst(&bucket, rate: rate, now: Self.start + Self.second / 2) == Int(rate / 2))
        // However long it rests it holds no more than a second's worth.
        #expect(self.burst(&bucket, rate: rate, now: Self.start + 3600 * Self.second) == Int(rate))
    }

    @Test func `over a long time the rate is kept exactly`() {
        var bucket = TokenBucket()
        var granted = 0
        // Asked 1000 times a second for 10 seconds.
        for tick in 0..<10_000 as Range<UInt64>
        where bucket.take(rate: 30, now: Self.start + tick * Self.second / 1000) { granted += 1 }
        #expect((329...330).contains(granted))
    }

    @Test func `a debt is waited for`() {
        var bucket = TokenBucket()
        #expect(bucket.wait(now: Self.start) == 0)
        bucket.spend(500, rate: 1000, now: Self.start)
        #expect(bucket.wait(now: Self.start) == 0)
        bucket.spend(2500, rate: 1000, now: Self.start)
        // Two seconds' worth too much, and a tenth on top.
        #expect(bucket.wait(now: Self.start) == Self.second * 21 / 10)
        #expect(bucket.wait(now: Self.start + Self.second) == Self.second * 11 / 10)
        #expect(bucket.wait(now: Self.start + Self.second * 21 / 10) == 0)
    }

    @Test func `more than the bucket holds is given when it is full, and owed`() {
        var bucket = TokenBucket()
        let isTaken = bucket.take(30, rate: 10, now: Self.start)
        #expect(isTaken)
        let isTakenAgain = bucket.take(1, rate: 10, now: Self.start + Self.second)
        #expect(!isTakenAgain)
        #expect(bucket.wait(now: Self.start) > 0)
    }

    @Test func `absurd numbers do not trap`() {
        var bucket = TokenBucket()
        for _ in 0..<10 { bucket.spend(.max, rate: 1, now: Self.start) }
        #expect(bucket.wait(now: Self.start) > 3600 * Self.second)
        bucket.spend(.max, rate: .max, now: .max)
        bucket.spend(1, rate: 0, now: .max)
        _ = bucket.wait(now: .max)
        var other = TokenBucket()
        let isTaken = other.take(rate: .max, now: 0)
        #expect(isTaken)
    }

    @Test func `threads share one bucket`() async {
        let bucket = SharedBucket()
        let granted = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    var own = 0
                    for _ in 0..<1000 where bucket.take(rate: 100, now: Self.start) { own += 1 }
                    return own
                }
            }
            return await group.reduce(0, +)
        }
        #expect(granted == 100)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import MeshProxy

@Suite struct LatencyEstimateTests {
    private static let millisecond: UInt64 = 1_000_000
    private let now: UInt64 = 5_000 * LatencyEstimateTests.millisecond

    @Test func `it begins with the first sample, rises fast and falls slowly`() {
        var estimate = LatencyEstimate()
        #expect(estimate.microseconds(now: self.now) == 0)
        estimate = estimate.observing(10 * Self.millisecond, now: self.now)
        #expect(estimate.microseconds(now: self.now) == 10_000)
        estimate = estimate.observing(30 * Self.millisecond, now: self.now)
        #expect(estimate.microseconds(now: self.now) == 20_000)
        estimate = estimate.observing(12 * Self.millisecond, now: self.now)
        #expect(estimate.microseconds(now: self.now) == 19_000)
        for _ in 0..<100 { estimate = estimate.observing(12 * Self.millisecond, now: self.now) }
        #expect((12_000...12_010).contains(estimate.microseconds(now: self.now)))
    }

    @Test func `it fades without samples`() {
        let estimate = LatencyEstimate().observing(8 * Self.millisecond, now: self.now)
        let after = { (seconds: UInt64) in
            estimate.microseconds(now: self.now + seconds * 1000 * Self.millisecond)
        }
        #expect(after(0) == 8000)
        #expect(after(5) == 6000)
        #expect(after(10) == 4000)
        #expect(after(15) == 3000)
        #expect(after(20) == 2000)
        #expect(after(600) == 0)
        var last = UInt32.max
        for seconds in 0..<200 as Range<UInt64> {
            #expect(after(seconds) <= last)
            last = after(seconds)
        }
    }

    @Test func `clocks that differ a little and wrap do not matter`() {
        let estimate = LatencyEstimate().observing(Self.millisecond, now: self.now + 3 * Self.millisecond)
        #expect(estimate.microseconds(now: self.now) == 1000)
        let wrap = (UInt64(UInt32.max) + 1) * Self.millisecond
        let late = LatencyEstimate().observing(4 * Self.millisecond, now: wrap - 1)
        #expect(late.microseconds(now: wrap + 10_000 * Self.millisecond) == 2000)
        #expect(LatencyEstimate().observing(.max, now: self.now).microseconds(now: self.now) == .max)
        #expect(LatencyEstimate().observing(0, now: self.now).microseconds(now: self.now) == 1)
    }
}

// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import MeshProxy

@Suite struct DurationBucketsTests {
    @Test(
        arguments: [
            (0, 0), (1, 0), (16_000, 0), (16_001, 1), (32_000, 1), (32_001, 2), (1_000_000, 6), (524_288_000, 15),
            (524_288_001, 16), (UInt64.max, 16),
        ] as [(UInt64, Int)])
    func aDurationFallsIntoTheFirstBucketThatHoldsIt(_ nanoseconds: UInt64, _ bucket: Int) {
        var buckets = DurationBuckets()
        buckets.add(nanoseconds)
        #expect(buckets.cumulative.counts == (0...16).map { $0 < bucket ? 0 : 1 })
        if bucket < 16 { #expect(Double(nanoseconds) / 1e9 <= DurationBuckets.bounds[bucket]) }
    }

    @Test func sums() {
        var (one, two) = (DurationBuckets(), DurationBuckets())
        one.add(1_000_000)
        two.add(2_000_000)
        #expect(one != two)
        one.add(two)
        #expect(one.cumulative.counts.last == 2)
        #expect(one.cumulative.sum == 0.003)
        #expect(DurationBuckets.bounds.first == 0.000016 && DurationBuckets.bounds.last == 0.524288)
        #expect(zip(DurationBuckets.bounds, DurationBuckets.bounds.dropFirst()).allSatisfy(<))
    }
}

// SPDX-License-Identifier: Apache-2.0

/// A distribution of durations over buckets that double from 16 microseconds to half a second: cheap enough for each turn
/// of a loop.
package struct DurationBuckets: Sendable {
    private static let bounded = 16
    /// Log2 of the first bound in microseconds.
    private static let first = 4

    private var counts = InlineArray<17, UInt64>(repeating: 0)
    /// Nanoseconds.
    private var sum: UInt64 = 0

    package init() {}

    /// The upper bounds of all buckets but the last, in seconds.
    package static let bounds = (0..<Self.bounded).map { Double(1 << ($0 + Self.first)) / 1e6 }

    @inline(__always)
    mutating func add(_ nanoseconds: UInt64) {
        // A value on a bound belongs to the bucket below it.
        let micros = nanoseconds / 1000 + (nanoseconds % 1000 > 0 ? 1 : 0)
        let bits = UInt64.bitWidth - (micros == 0 ? 0 : micros - 1).leadingZeroBitCount
        self.counts[min(max(0, bits - Self.first), Self.bounded)] &+= 1
        self.sum &+= nanoseconds
    }

    mutating func add(_ other: Self) {
        for index in self.counts.indices { self.counts[index] &+= other.counts[index] }
        self.sum &+= other.sum
    }

    /// For each bound the number of durations up to it, the infinite one last; and the sum of all in seconds.
    package var cumulative: (counts: [UInt64], sum: Double) {
        var (total, result): (UInt64, [UInt64]) = (0, [])
        for index in self.counts.indices {
            total += self.counts[index]
            result.append(total)
        }
        return (result, Double(self.sum) / 1e9)
    }
}

extension DurationBuckets: Hashable {
    package static func == (left: Self, right: Self) -> Bool {
        left.sum == right.sum && left.counts.indices.allSatisfy { left.counts[$0] == right.counts[$0] }
    }

    package func hash(into hasher: inout Hasher) {
        for index in self.counts.indices { hasher.combine(self.counts[index]) }
        hasher.combine(self.sum)
    }
}

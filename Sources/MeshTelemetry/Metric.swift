// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// One value, or one distribution, of a metric. It may be kept and updated without any lock.
package protocol MetricSeries: AnyObject, Sendable {
    /// - Parameter buckets: upper bounds, empty but for histograms.
    init(buckets: [Double])
}

/// A value that only grows.
package final class Counter: MetricSeries {
    private let count = Atomic<UInt64>(0)

    package init(buckets _: [Double]) {}

    package func increment(by amount: UInt64 = 1) { self.count.wrappingAdd(amount, ordering: .relaxed) }

    package var value: UInt64 { self.count.load(ordering: .relaxed) }
}

/// A value that goes up and down.
package final class Gauge: MetricSeries {
    private let bits = Atomic<UInt64>(0)

    package init(buckets _: [Double]) {}

    package func set(_ value: Double) { self.bits.store(value.bitPattern, ordering: .relaxed) }

    package func add(_ amount: Double) {
        var old = self.bits.load(ordering: .relaxed)
        while true {
            let new = (Double(bitPattern: old) + amount).bitPattern
            let result = self.bits.weakCompareExchange(expected: old, desired: new, ordering: .relaxed)
            if result.exchanged { return }
            old = result.original
        }
    }

    package var value: Double { Double(bitPattern: self.bits.load(ordering: .relaxed)) }
}

/// A distribution over fixed buckets.
package final class Histogram: MetricSeries {
    private struct State {
        var counts: [UInt64]
        var sum: Double = 0
    }

    private let bounds: [Double]
    private let state: Mutex<State>

    package init(buckets: [Double]) {
        self.bounds = buckets
        self.state = Mutex(State(counts: Array(repeating: 0, count: buckets.count + 1)))
    }

    package func observe(_ value: Double) {
        let bucket = self.bounds.firstIndex { value <= $0 } ?? self.bounds.count
        self.state.withLock { state in
            state.counts[bucket] += 1
            state.sum += value
        }
    }

    /// For each bound the number of values up to it, the infinite one last; and the sum of all.
    package var value: (cumulative: [UInt64], sum: Double) {
        let state = self.state.withLock { $0 }
        var total: UInt64 = 0
        let cumulative = state.counts.map { count in
            total += count
            return total
        }
        return (cumulative, state.sum)
    }
}

/// A metric: one series for each combination of label values.
package struct Metric<Series: MetricSeries>: Sendable {
    private let family: MetricFamily

    init(_ family: MetricFamily) { self.family = family }

    /// The series with these label values, in the order of the label names.
    package func with(_ values: [String] = []) -> Series { self.family.series(values, as: Series.self) }

    /// Forgets the series with these label values: what it was about is gone.
    package func remove(_ values: [String]) { self.family.remove(values) }
}

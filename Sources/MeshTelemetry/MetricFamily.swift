// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// All series of one metric.
final class MetricFamily: Sendable {
    private struct Entry {
        var series: any MetricSeries
        /// When somebody last asked for it.
        var used: ContinuousClock.Instant
    }

    private struct State {
        var series: [[String]: Entry] = [:]
        /// Takes what does not fit.
        var other: (any MetricSeries)?
        var overflow: UInt64 = 0
        /// When unused series were last looked for.
        var swept: ContinuousClock.Instant?
    }

    let name: String
    let kind: MetricKind
    let labels: [String]
    let buckets: [Double]
    private let help: String
    private let limit: Int
    private let overflowLabels: [String]
    private let state = Mutex(State())

    /// How long nobody must have asked for a series, and how often a full family looks for such.
    static let idleTime = Duration.seconds(3600)
    private static let sweepInterval = Duration.seconds(60)

    init(name: String, kind: MetricKind, help: String, labels: [String], buckets: [Double], limit: Int) {
        self.name = name
        self.kind = kind
        self.help = help
        self.labels = labels
        self.buckets = buckets
        self.limit = limit
        self.overflowLabels = labels.map { _ in "other" }
    }

    /// Updates that went to the series labelled `other`.
    var overflow: UInt64 { self.state.withLock { $0.overflow } }

    /// The type is the one the registry made this family for, and so always the right one.
    func series<Series: MetricSeries>(
        _ values: [String], as _: Series.Type, now: ContinuousClock.Instant = .now
    ) -> Series {
        precondition(values.count == self.labels.count, "metric \(self.name): \(values.count) label values")
        return self.state.withLock { state in
            if let known = state.series[values]?.series as? Series {
                state.series[values]?.used = now
                return known
            }
            let isOther = values == self.overflowLabels && !self.labels.isEmpty
            if !isOther, state.series.count >= self.limit { Self.sweep(&state, now: now) }
            if !isOther, state.series.count < self.limit {
                let new = Series(buckets: self.buckets)
                state.series[values] = Entry(series: new, used: now)
                return new
            }
            if !isOther { state.overflow += 1 }
            if let other = state.other as? Series { return other }
            let other = Series(buckets: self.buckets)
            state.other = other
            return other
        }
    }

    /// Forgets what nobody has asked for in a long time and nobody holds.
    private static func sweep(_ state: inout State, now: ContinuousClock.Instant) {
        if let swept = state.swept, now - swept < Self.sweepInterval { return }
        state.swept = now
        let idle = state.series.filter { now - $0.value.used > Self.idleTime }.mapValues(\.used)
        for (key, used) in idle {
            // What lives on without the table is held by somebody who counts with it.
            weak let series = state.series.removeValue(forKey: key)?.series
            if let series { state.series[key] = Entry(series: series, used: used) }
        }
    }

    func remove(_ values: [String]) { _ = self.state.withLock { $0.series.removeValue(forKey: values) } }

    func render(into text: inout PrometheusText) {
        let (all, other) = self.state.withLock { ($0.series.mapValues(\.series), $0.other) }
        text.header(self.name, self.kind, help: self.help)
        for (values, series) in all.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            self.render(series, values, into: &text)
        }
        if let other { self.render(other, self.overflowLabels, into: &text) }
    }

    private func render(_ series: any MetricSeries, _ values: [String], into text: inout PrometheusText) {
        let pairs = Array(zip(self.labels, values))
        if let counter = series as? Counter {
            text.sample(self.name, pairs, String(counter.value))
        } else if let gauge = series as? Gauge {
            text.sample(self.name, pairs, PrometheusText.number(gauge.value))
        } else if let histogram = series as? Histogram {
            let value = histogram.value
            text.histogram(
                self.name, pairs, buckets: self.buckets, counts: value.cumulative, sum: value.sum)
        }
    }
}

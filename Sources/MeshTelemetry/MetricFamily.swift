// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// All series of one metric.
final class MetricFamily: Sendable {
    let name: String
    let kind: MetricKind
    let labels: [String]
    let buckets: [Double]
    private let help: String
    private let budget: SeriesBudget
    private let overflow: [String]
    private let series = Mutex<[[String]: any MetricSeries]>([:])

    init(name: String, kind: MetricKind, help: String, labels: [String], buckets: [Double], budget: SeriesBudget) {
        self.name = name
        self.kind = kind
        self.help = help
        self.labels = labels
        self.buckets = buckets
        self.budget = budget
        self.overflow = labels.map { _ in "other" }
    }

    /// The type is the one the registry made this family for, and so always the right one.
    func series<Series: MetricSeries>(_ values: [String], as _: Series.Type) -> Series {
        precondition(values.count == self.labels.count, "metric \(self.name): \(values.count) label values")
        return self.series.withLock { series in
            if let known = series[values] as? Series { return known }
            var key = values
            // The series for everything that does not fit is beyond the budget, or nothing would take it up.
            if values != self.overflow, !self.labels.isEmpty, !self.budget.take() {
                self.budget.countOverflow()
                key = self.overflow
                if let known = series[key] as? Series { return known }
            }
            let new = Series(buckets: self.buckets)
            series[key] = new
            return new
        }
    }

    func remove(_ values: [String]) {
        let removed = self.series.withLock { $0.removeValue(forKey: values) != nil }
        if removed, values != self.overflow, !self.labels.isEmpty { self.budget.giveBack() }
    }

    func render(into text: inout PrometheusText) {
        let all = self.series.withLock { $0 }.sorted { $0.key.lexicographicallyPrecedes($1.key) }
        text.header(self.name, self.kind, help: self.help)
        for (values, series) in all {
            let pairs = Array(zip(self.labels, values))
            if let counter = series as? Counter {
                text.sample(self.name, pairs, String(counter.value))
            } else if let gauge = series as? Gauge {
                text.sample(self.name, pairs, PrometheusText.number(gauge.value))
            } else if let histogram = series as? Histogram {
                let value = histogram.value
                for (bound, count) in zip(self.buckets + [.infinity], value.cumulative) {
                    text.sample(
                        self.name + "_bucket", pairs + [("le", PrometheusText.number(bound))], String(count))
                }
                text.sample(self.name + "_sum", pairs, PrometheusText.number(value.sum))
                text.sample(self.name + "_count", pairs, String(value.cumulative.last ?? 0))
            }
        }
    }
}

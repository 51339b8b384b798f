// SPDX-License-Identifier: Apache-2.0

/// A metric whose values live elsewhere and are asked for when the metrics are read.
struct CollectedMetric: Sendable {
    enum Values: Sendable {
        case samples(MetricsRegistry.Samples)
        /// With the bounds of the buckets.
        case distributions([Double], MetricsRegistry.Distributions)
    }

    let kind: MetricKind
    let help: String
    let labels: [String]
    let values: Values

    /// - Parameter limit: series shown; the others are added up in one whose labels say `other`.
    func render(_ name: String, limit: Int, into text: inout PrometheusText) {
        text.header(name, self.kind, help: self.help)
        switch self.values {
        case .samples(let samples):
            let all = samples().filter { $0.labels.count == self.labels.count }.sorted {
                $0.labels.lexicographicallyPrecedes($1.labels)
            }
            for sample in all.prefix(limit) {
                text.sample(name, self.pairs(sample.labels), PrometheusText.number(sample.value))
            }
            if all.count > limit {
                let rest = all.dropFirst(limit).reduce(0) { $0 + $1.value }
                text.sample(name, self.pairs(self.labels.map { _ in "other" }), PrometheusText.number(rest))
            }
        case .distributions(let buckets, let distributions):
            let all = distributions().filter {
                $0.labels.count == self.labels.count && $0.counts.count == buckets.count + 1
            }
            for item in all.sorted(by: { $0.labels.lexicographicallyPrecedes($1.labels) }).prefix(limit) {
                text.histogram(name, self.pairs(item.labels), buckets: buckets, counts: item.counts, sum: item.sum)
            }
        }
    }

    private func pairs(_ values: [String]) -> [(String, String)] { Array(zip(self.labels, values)) }
}

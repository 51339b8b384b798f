// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Every metric of a daemon, rendered as Prometheus text. Any thread may call anything here.
///
/// The number of series of each metric is bounded, since labels hold names that peers choose: what does not fit is added
/// to one series whose labels all say `other`, so that totals stay right, and counted. Series that nothing has used for
/// an hour make room for new ones.
package final class MetricsRegistry: Sendable {
    /// Values that live elsewhere are asked for when the metrics are read.
    package typealias Samples = @Sendable () -> [(labels: [String], value: Double)]

    /// As ``Samples``, of distributions: for each bucket the number of values up to its bound, the infinite one last.
    package typealias Distributions = @Sendable () -> [(labels: [String], counts: [UInt64], sum: Double)]

    private struct State {
        var families: [String: MetricFamily] = [:]
        var collected: [String: CollectedMetric] = [:]
    }

    private let state = Mutex(State())
    private let maxSeries: Int
    private static let overflowName = "nodemesh_metrics_overflow_total"

    /// - Parameter maxSeries: of each metric, the one labelled `other` not counted.
    package init(maxSeries: Int = 2_000) {
        self.maxSeries = max(1, maxSeries)
        self.collect(
            Self.overflowName, .counter,
            help: "Updates that went to a series labelled 'other' since the metric had too many, by metric.",
            labels: ["metric"]
        ) { [weak self] in self?.overflows ?? [] }
    }

    private var overflows: [(labels: [String], value: Double)] {
        let families = self.state.withLock { $0.families.values }
        return families.compactMap { family in
            let count = family.overflow
            return count == 0 ? nil : ([family.name], Double(count))
        }
    }

    /// A value that only grows; `name` ends in `_total`. Asking again for a name gives the same metric.
    package func counter(_ name: String, help: String, labels: [String] = []) -> Metric<Counter> {
        Metric(self.family(name, .counter, help, labels, buckets: []))
    }

    /// A value that goes up and down.
    package func gauge(_ name: String, help: String, labels: [String] = []) -> Metric<Gauge> {
        Metric(self.family(name, .gauge, help, labels, buckets: []))
    }

    /// A distribution; `buckets` are upper bounds in ascending order, without the infinite one.
    package func histogram(
        _ name: String, help: String, labels: [String] = [], buckets: [Double]
    ) -> Metric<Histogram> {
        precondition(
            zip(buckets, buckets.dropFirst()).allSatisfy(<) && buckets.allSatisfy(\.isFinite),
            "metric \(name): buckets are not ascending")
        return Metric(self.family(name, .histogram, help, labels, buckets: buckets))
    }

    /// A counter or gauge whose values `samples` gives at each reading. It is called on the reader's thread and must
    /// not block. A second call for the same name replaces the first.
    package func collect(
        _ name: String, _ kind: MetricKind, help: String, labels: [String] = [], samples: @escaping Samples
    ) {
        precondition(kind != .histogram, "metric \(name): a histogram cannot be collected")
        Self.check(name, labels)
        self.collect(name, CollectedMetric(kind: kind, help: help, labels: labels, values: .samples(samples)))
    }

    /// As ``collect(_:_:help:labels:samples:)``, for a histogram; `buckets` are as in
    /// ``histogram(_:help:labels:buckets:)``.
    package func collectHistogram(
        _ name: String, help: String, labels: [String] = [], buckets: [Double],
        distributions: @escaping Distributions
    ) {
        Self.check(name, labels)
        self.collect(
            name,
            CollectedMetric(
                kind: .histogram, help: help, labels: labels, values: .distributions(buckets, distributions)))
    }

    private func collect(_ name: String, _ metric: CollectedMetric) {
        self.state.withLock { state in
            precondition(state.families[name] == nil, "metric \(name) is kept here already")
            state.collected[name] = metric
        }
    }

    private func family(
        _ name: String, _ kind: MetricKind, _ help: String, _ labels: [String], buckets: [Double]
    ) -> MetricFamily {
        Self.check(name, labels)
        return self.state.withLock { state in
            if let family = state.families[name] {
                precondition(
                    family.kind == kind && family.labels == labels && family.buckets == buckets,
                    "metric \(name) was asked for in two forms")
                return family
            }
            precondition(state.collected[name] == nil, "metric \(name) is collected already")
            let family = MetricFamily(
                name: name, kind: kind, help: help, labels: labels, buckets: buckets, limit: self.maxSeries)
            state.families[name] = family
            return family
        }
    }

    /// Names are written in our code, never by a peer.
    private static func check(_ name: String, _ labels: [String]) {
        func isName(_ text: String) -> Bool {
            guard let first = text.utf8.first, !(48...57).contains(first) else { return false }
            return text.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 95 }
        }
        precondition(isName(name) && labels.allSatisfy(isName), "metric \(name): a name is not snake_case")
        precondition(Set(labels).count == labels.count, "metric \(name): a label is named twice")
    }

    /// Everything in the Prometheus text format 0.0.4, sorted.
    package func render() -> String {
        let (families, collected) = self.state.withLock { ($0.families, $0.collected) }
        var text = PrometheusText()
        for name in (Array(families.keys) + Array(collected.keys)).sorted() {
            if let family = families[name] {
                family.render(into: &text)
            } else if let metric = collected[name] {
                metric.render(name, limit: self.maxSeries, into: &text)
            }
        }
        return text.text
    }

    /// The media type of ``render()``.
    package static let contentType = "text/plain; version=0.0.4; charset=utf-8"
}

package enum MetricKind: String, Sendable, Hashable { case counter, gauge, histogram }

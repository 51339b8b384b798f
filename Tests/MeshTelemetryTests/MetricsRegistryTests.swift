// SPDX-License-Identifier: Apache-2.0

import MeshTelemetry
import Testing

@Suite struct MetricsRegistryTests {
    /// The text without the registry's own metric.
    private func text(_ registry: MetricsRegistry) -> String {
        registry.render().split(separator: "\n", omittingEmptySubsequences: false).filter {
            !$0.contains("nodemesh_metrics_overflow_total")
        }.joined(separator: "\n")
    }

    @Test func countersAndGauges() {
        let registry = MetricsRegistry()
        let requests = registry.counter("requests_total", help: "Requests.", labels: ["code", "who"])
        requests.with(["200", "b"]).increment()
        requests.with(["200", "a"]).increment(by: 41)
        requests.with(["200", "a"]).increment()
        let temperature = registry.gauge("temperature_celsius", help: "Now.")
        temperature.with().set(21.5)
        temperature.with().add(-0.25)
        #expect(
            self.text(registry) == """
                # HELP requests_total Requests.
                # TYPE requests_total counter
                requests_total{code="200",who="a"} 42
                requests_total{code="200",who="b"} 1
                # HELP temperature_celsius Now.
                # TYPE temperature_celsius gauge
                temperature_celsius 21.25

                """)
    }

    @Test func histograms() {
        let registry = MetricsRegistry()
        let duration = registry.histogram(
            "duration_seconds", help: "How long.", labels: ["x"], buckets: [0.1, 1])
        for value in [0.05, 0.1, 0.5, 7] { duration.with(["y"]).observe(value) }
        #expect(
            self.text(registry) == """
                # HELP duration_seconds How long.
                # TYPE duration_seconds histogram
                duration_seconds_bucket{x="y",le="0.1"} 2
                duration_seconds_bucket{x="y",le="1"} 3
                duration_seconds_bucket{x="y",le="+Inf"} 4
                duration_seconds_sum{x="y"} 7.65
                duration_seconds_count{x="y"} 4

                """)
    }

    @Test func collectedValues() {
        let registry = MetricsRegistry()
        registry.collect("steering_decisions_total", .counter, help: "By reason.", labels: ["reason"]) {
            [(["b"], 2), (["a"], 1e15), (["wrong", "count"], 3)]
        }
        #expect(
            self.text(registry) == """
                # HELP steering_decisions_total By reason.
                # TYPE steering_decisions_total counter
                steering_decisions_total{reason="a"} 1000000000000000
                steering_decisions_total{reason="b"} 2

                """)
    }

    @Test(arguments: [
        ("plain", "plain"), ("a\"b", "a\\\"b"), ("a\\b", "a\\\\b"), ("a\nb", "a\\nb"), ("\\n", "\\\\n"), ("", ""),
        ("grüße 🦊", "grüße 🦊"), ("}{=,", "}{=,"), ("\r\t", "\r\t"), ("\r\n", "\r\\n"),
    ])
    func labelValuesAreEscaped(_ value: String, _ expected: String) {
        let registry = MetricsRegistry()
        registry.counter("x_total", help: "X.", labels: ["l"]).with([value]).increment()
        #expect(registry.render().contains("x_total{l=\"\(expected)\"} 1\n"))
    }

    @Test func helpIsEscaped() {
        let registry = MetricsRegistry()
        _ = registry.gauge("x", help: "a \"b\" \\ c\nd")
        #expect(registry.render().contains("# HELP x a \"b\" \\\\ c\\nd\n"))
    }

    @Test(
        arguments: [
            (0, "0"), (-1, "-1"), (1.5, "1.5"), (.infinity, "+Inf"), (-.infinity, "-Inf"), (.nan, "NaN"),
            (1_700_000_000, "1700000000"), (1e20, "1e+20"), (-0.0, "0"),
        ] as [(Double, String)])
    func numbers(_ value: Double, _ expected: String) {
        let registry = MetricsRegistry()
        registry.gauge("x", help: "X.").with().set(value)
        #expect(registry.render().contains("\nx \(expected)\n"))
    }

    @Test func whatDoesNotFitGoesToOneSeries() {
        let registry = MetricsRegistry(maxSeries: 2)
        let one = registry.counter("one_total", help: "One.", labels: ["l"])
        let two = registry.gauge("two", help: "Two.", labels: ["l", "m"])
        for index in 0..<10 { one.with(["\(index)"]).increment() }
        for name in ["a", "b", "c"] { two.with([name, "x"]).set(5) }
        one.with(["0"]).increment()
        let text = registry.render()
        #expect(text.contains("one_total{l=\"0\"} 2\n"))
        #expect(text.contains("one_total{l=\"other\"} 8\n"))
        #expect(text.contains("two{l=\"other\",m=\"other\"} 5\n"))
        #expect(text.contains("nodemesh_metrics_overflow_total{metric=\"one_total\"} 8\n"))
        #expect(text.contains("nodemesh_metrics_overflow_total{metric=\"two\"} 1\n"))
    }

    @Test func whatOthersNameOtherIsNoOverflow() {
        let registry = MetricsRegistry(maxSeries: 1)
        let counter = registry.counter("x_total", help: "X.", labels: ["l"])
        counter.with(["other"]).increment()
        counter.with(["a"]).increment()
        counter.with(["b"]).increment()
        let text = registry.render()
        #expect(text.contains("x_total{l=\"other\"} 2\n"))
        #expect(text.contains("nodemesh_metrics_overflow_total{metric=\"x_total\"} 1\n"))
    }

    @Test func collectedSamplesAreBoundedToo() {
        let registry = MetricsRegistry(maxSeries: 2)
        registry.collect("x_total", .counter, help: "X.", labels: ["l"]) {
            (0..<5).map { (["\($0)"], Double($0)) }
        }
        #expect(
            self.text(registry) == """
                # HELP x_total X.
                # TYPE x_total counter
                x_total{l="0"} 0
                x_total{l="1"} 1
                x_total{l="other"} 9

                """)
    }

    @Test func collectedDistributions() {
        let registry = MetricsRegistry()
        registry.collectHistogram("lag_seconds", help: "Lag.", buckets: [0.001, 1]) {
            [([], [3, 4, 4], 0.5), (["wrong"], [1, 1, 1], 1), ([], [1], 1)]
        }
        #expect(
            self.text(registry) == """
                # HELP lag_seconds Lag.
                # TYPE lag_seconds histogram
                lag_seconds_bucket{le="0.001"} 3
                lag_seconds_bucket{le="1"} 4
                lag_seconds_bucket{le="+Inf"} 4
                lag_seconds_sum 0.5
                lag_seconds_count 4

                """)
    }

    @Test func removedSeriesMakeRoom() {
        let registry = MetricsRegistry(maxSeries: 1)
        let gauge = registry.gauge("x", help: "X.", labels: ["l"])
        gauge.with(["a"]).set(1)
        gauge.remove(["a"])
        gauge.remove(["a"])
        gauge.remove(["never"])
        gauge.with(["b"]).set(2)
        gauge.with(["c"]).set(3)
        #expect(self.text(registry).contains("x{l=\"b\"} 2\n"))
        #expect(self.text(registry).contains("x{l=\"other\"} 3\n"))
        #expect(!self.text(registry).contains("\"a\""))
    }

    @Test func askingAgainGivesTheSame() {
        let registry = MetricsRegistry()
        registry.counter("x_total", help: "X.", labels: ["l"]).with(["a"]).increment()
        registry.counter("x_total", help: "X.", labels: ["l"]).with(["a"]).increment()
        #expect(registry.render().contains("x_total{l=\"a\"} 2\n"))
    }

    @Test func manyThreadsLoseNothing() async {
        let registry = MetricsRegistry(maxSeries: 50)
        let counter = registry.counter("x_total", help: "X.", labels: ["l"])
        let gauge = registry.gauge("y", help: "Y.")
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask {
                    for index in 0..<1000 {
                        counter.with(["\((index + task) % 100)"]).increment()
                        gauge.with().add(1)
                        if index % 250 == 0 { _ = registry.render() }
                    }
                }
            }
        }
        let total = registry.render().split(separator: "\n").filter { $0.hasPrefix("x_total{") }.compactMap {
            $0.split(separator: " ").last.flatMap { Int($0) }
        }.reduce(0, +)
        #expect(total == 8000)
        #expect(gauge.with().value == 8000)
    }
}

// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import MeshTelemetry

/// Series that nobody uses make room for others.
@Suite struct MetricFamilyTests {
    private let family = MetricFamily(
        name: "x_total", kind: .counter, help: "X.", labels: ["l"], buckets: [], limit: 2)
    private let start = ContinuousClock.now

    private func text() -> String {
        var text = PrometheusText()
        self.family.render(into: &text)
        return text.text
    }

    private func count(_ label: String, after: Duration) {
        self.family.series([label], as: Counter.self, now: self.start + after).increment()
    }

    @Test func anIdleSeriesMakesRoom() {
        self.count("a", after: .zero)
        self.count("b", after: .zero)
        // Too early.
        self.count("c", after: .seconds(1800))
        #expect(self.family.overflow == 1)
        self.count("b", after: .seconds(1800))
        self.count("d", after: MetricFamily.idleTime + .seconds(1))
        #expect(!self.text().contains(#""a""#))
        for line in [#"x_total{l="b"} 2"#, #"x_total{l="d"} 1"#, #"x_total{l="other"} 1"#] {
            #expect(self.text().contains(line), "\(line)")
        }
        #expect(self.family.overflow == 1)
    }

    @Test func aSeriesThatSomebodyHoldsStays() {
        let held = self.family.series(["a"], as: Counter.self, now: self.start)
        self.count("b", after: .zero)
        self.count("c", after: MetricFamily.idleTime * 2)
        held.increment()
        #expect(self.text().contains(#"x_total{l="a"} 1"#))
        #expect(self.text().contains(#"x_total{l="c"} 1"#))
        #expect(!self.text().contains(#""b""#))
    }

    @Test func looksForIdleSeriesAreFarBetween() {
        self.count("a", after: .zero)
        self.count("b", after: .seconds(30))
        self.count("c", after: MetricFamily.idleTime)
        // Idle by now, but somebody has just looked.
        self.count("d", after: MetricFamily.idleTime + .seconds(20))
        #expect(self.family.overflow == 2)
        self.count("e", after: MetricFamily.idleTime + .seconds(61))
        #expect(self.text().contains(#"x_total{l="e"} 1"#))
    }
}

// SPDX-License-Identifier: Apache-2.0

/// When to act on a burst of changes: after a short quiet, but never later than a ceiling after the first.
struct Debounce: Sendable {
    var quiet: Duration = .milliseconds(100)
    var ceiling: Duration = .seconds(1)

    func due(first: ContinuousClock.Instant, last: ContinuousClock.Instant) -> ContinuousClock.Instant {
        min(last + self.quiet, first + self.ceiling)
    }
}

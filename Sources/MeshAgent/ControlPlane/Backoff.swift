// SPDX-License-Identifier: Apache-2.0

/// Waiting times that double from `initial` to `maximum`, each moved by up to a fifth.
package struct Backoff: Sendable, Hashable {
    package let initial: Duration
    package let maximum: Duration
    private var failures = 0

    package init(initial: Duration, maximum: Duration) {
        self.initial = initial
        self.maximum = maximum
    }

    /// - Parameter jitter: -1...1.
    package mutating func next(jitter: Double) -> Duration {
        let doublings = min(self.failures, 30)
        self.failures += 1
        return min(self.initial * (1 << doublings), self.maximum) * (1 + 0.2 * min(1, max(-1, jitter)))
    }

    /// Something succeeded: the next failure waits `initial` again.
    package mutating func reset() { self.failures = 0 }
}

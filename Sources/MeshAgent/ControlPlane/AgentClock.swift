// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Time as the control-plane half of the daemon sees it, so that tests can make it pass.
package protocol AgentClock: Sendable {
    var now: Date { get }
    /// Since some moment that stays the same. Nobody sets it, and it goes on while the machine sleeps.
    var uptime: Duration { get }
    /// Throws `CancellationError` when the task is cancelled.
    func sleep(for duration: Duration) async throws
    /// Evenly in -1...1.
    func jitter() -> Double
}

package struct SystemClock: AgentClock {
    private static let start = ContinuousClock.now

    package init() {}

    package var now: Date { Date() }
    package var uptime: Duration { ContinuousClock.now - Self.start }
    package func sleep(for duration: Duration) async throws { try await Task.sleep(for: duration) }
    package func jitter() -> Double { Double.random(in: -1...1) }
}

extension Duration {
    /// Seconds, as `TimeInterval` counts them.
    var interval: TimeInterval {
        let (seconds, attoseconds) = self.components
        return TimeInterval(seconds) + TimeInterval(attoseconds) * 1e-18
    }
}

// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// What this node has seen of the way to something, from the kernel's word about the sockets that went there. Shared by
/// all loops.
final class PathState: Sendable {
    private let latency = Atomic<UInt64>(0)

    func latency(now: UInt64) -> UInt32 {
        LatencyEstimate(rawValue: self.latency.load(ordering: .relaxed)).microseconds(now: now)
    }

    /// - Parameter sample: nanoseconds.
    func observe(_ sample: UInt64, now: UInt64) {
        var old = self.latency.load(ordering: .relaxed)
        while true {
            let new = LatencyEstimate(rawValue: old).observing(sample, now: now).rawValue
            let (exchanged, original) = self.latency.weakCompareExchange(
                expected: old, desired: new, ordering: .relaxed)
            if exchanged { return }
            old = original
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// What all loops of a proxy know and count together about endpoints and limits.
final class TrafficControl: Sendable {
    let endpoints = EndpointTable()
    let refusedConnections = Atomic<UInt64>(0)
    let refusedPending = Atomic<UInt64>(0)
    let refusedRate = Atomic<UInt64>(0)
    let refusedWorkloadConnections = Atomic<UInt64>(0)
    let refusedWorkloadRate = Atomic<UInt64>(0)
    let refusedHandshakes = Atomic<UInt64>(0)
    let pauses = Atomic<UInt64>(0)
    let retries = Atomic<UInt64>(0)
    let retriesDenied = Atomic<UInt64>(0)

    var statistics: TrafficStatistics {
        var statistics = TrafficStatistics()
        statistics.refused = [
            .destinationConnections: self.refusedConnections.load(ordering: .relaxed),
            .destinationPending: self.refusedPending.load(ordering: .relaxed),
            .destinationRate: self.refusedRate.load(ordering: .relaxed),
            .workloadConnections: self.refusedWorkloadConnections.load(ordering: .relaxed),
            .workloadRate: self.refusedWorkloadRate.load(ordering: .relaxed),
            .workloadHandshakes: self.refusedHandshakes.load(ordering: .relaxed),
        ]
        statistics.pauses = self.pauses.load(ordering: .relaxed)
        statistics.retries = self.retries.load(ordering: .relaxed)
        statistics.retriesDenied = self.retriesDenied.load(ordering: .relaxed)
        return statistics
    }
}

// SPDX-License-Identifier: Apache-2.0

/// What traffic policy did since start.
package struct TrafficStatistics: Sendable, Hashable {
    /// Which declared limit refused a connection.
    package enum Limit: String, Sendable, Hashable, CaseIterable {
        case destinationConnections = "destination_max_connections"
        case destinationPending = "destination_max_pending"
        case destinationRate = "destination_connects_per_second"
        case workloadConnections = "workload_max_connections"
        case workloadRate = "workload_connections_per_second"
        case workloadHandshakes = "workload_handshakes_per_second"
    }

    package var refused: [Limit: UInt64] = [:]
    /// How often a connection had to wait for its workload's bytes per second.
    package var pauses: UInt64 = 0
    /// Attempts at another endpoint after one had failed.
    package var retries: UInt64 = 0
    /// Such attempts that were not made since too many were.
    package var retriesDenied: UInt64 = 0

    package init() {}
}

// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// The endpoints of one service port in one view, with what is known of them.
final class BoundService: Sendable {
    let set: EndpointSet
    let state: ServiceState
    /// In the set's order.
    let endpoints: [EndpointState]

    init(set: EndpointSet, state: ServiceState, endpoints: [EndpointState]) {
        self.set = set
        self.state = state
        self.endpoints = endpoints
    }

    func choose<Random: RandomNumberGenerator>(
        excluding tried: Set<WorkloadID>, now: UInt64, _ random: inout Random
    ) -> Int? {
        EndpointChooser(
            set: self.set,
            isTried: { !tried.isEmpty && tried.contains(self.set.endpoints[$0].workload.id) },
            signal: { self.endpoints[$0].signal(now: now) }
        ).choose(&random)
    }
}

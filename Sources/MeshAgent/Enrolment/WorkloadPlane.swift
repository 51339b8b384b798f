// SPDX-License-Identifier: Apache-2.0

import MeshLinux
import MeshModel

/// What a workload's enrolment says about how its sockets are steered.
package struct SteeringOptions: Sendable, Hashable {
    /// Others are in its network namespace too: the host's, or a group's.
    package var isShared = false
    /// nil: the node's.
    package var failsOpen: Bool?
    package var excludedPrefixes: [IPPrefix] = []
    package var excludedOutboundPorts: [UInt16] = []
    package var excludedInboundPorts: [UInt16] = []
    package var answersOriginalDestination = false
    /// Direct connections with others that say so too may join the socket map.
    package var isAccelerated = false
    /// Its names are answered here, where the node does that.
    package var hasNamesAnswered = false
    /// A cgroup above it refuses what is not enrolled.
    package var isGuarded = false

    package init() {}
}

/// What enrolment asks of the kernel and the proxy together.
package protocol WorkloadPlane: Sendable {
    /// Opens the workload's listeners and steers its sockets to them: all of it or nothing. For one that is attached
    /// already changes the options.
    func attach(
        _ id: WorkloadID, key: UInt32, workload: InspectedWorkload, options: SteeringOptions
    ) async throws(EnrolmentError)
    /// Ends the steering, then the workload's connections.
    func detach(_ id: WorkloadID, key: UInt32) async
    /// Refuses what is below a cgroup and not enrolled connections into the mesh.
    func setGuard(_ cgroup: String) throws(EnrolmentError)
    func removeGuard(_ cgroup: String)
    /// Under which key an earlier run has left each cgroup, by its id.
    func formerKeys() -> [UInt64: UInt32]
}

extension WorkloadPlane {
    package func formerKeys() -> [UInt64: UInt32] { [:] }
}

// SPDX-License-Identifier: Apache-2.0

import MeshLinux
import MeshModel

/// What enrolment asks of the kernel and the proxy together.
package protocol WorkloadPlane: Sendable {
    /// Opens the workload's listeners and steers its sockets to them: all of it or nothing.
    func attach(_ id: WorkloadID, key: UInt32, workload: InspectedWorkload) async throws(EnrolmentError)
    /// Ends the steering, then the workload's connections.
    func detach(_ id: WorkloadID, key: UInt32) async
}

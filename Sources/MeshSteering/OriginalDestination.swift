// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// Where a captured connection wanted to go, and whose it is.
package struct OriginalDestination: Hashable, Sendable {
    package let address: SocketAddress
    /// ``Enrolment/key`` of the workload that connected.
    package let workloadKey: UInt32

    package init(address: SocketAddress, workloadKey: UInt32) {
        self.address = address
        self.workloadKey = workloadKey
    }
}

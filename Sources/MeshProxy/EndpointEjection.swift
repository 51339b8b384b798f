// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// An endpoint that this node has set aside for a while, since connections to it failed.
package struct EndpointEjection: Hashable, Sendable {
    package var service: NamespacedName
    package var port: UInt16
    package var workload: WorkloadID
    package var address: SocketAddress
    package var nanosecondsLeft: UInt64
    /// How often in a row, which makes it longer.
    package var times: UInt64

    package init(
        service: NamespacedName, port: UInt16, workload: WorkloadID, address: SocketAddress, nanosecondsLeft: UInt64,
        times: UInt64
    ) {
        self.service = service
        self.port = port
        self.workload = workload
        self.address = address
        self.nanosecondsLeft = nanosecondsLeft
        self.times = times
    }

    /// Rounded up.
    package var secondsLeft: Int { Int(clamping: (self.nanosecondsLeft + 999_999_999) / 1_000_000_000) }
}

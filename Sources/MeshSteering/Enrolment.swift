// SPDX-License-Identifier: Apache-2.0

import MeshLinux
import MeshModel

/// A workload as the kernel side sees it.
package struct Enrolment: Sendable {
    /// The daemon's number for the workload, returned by ``Steering/originalDestination(of:)``.
    package let key: UInt32
    /// The workload's name, for messages only.
    package let id: String
    /// Its cgroup's directory.
    package let cgroupPath: String
    /// The network namespace its sockets live in.
    package let namespace: NetworkNamespace
    /// The addresses it has there: never captured, the first IPv4 one is the source of captured connects. At most 8.
    package let addresses: [IPAddress]
    /// Listening sockets for inbound connections, if they exist already; see ``Steering/setInboundListeners(_:_:)``.
    package let inboundListeners: [CInt]

    package init(
        key: UInt32, id: String, cgroupPath: String, namespace: NetworkNamespace, addresses: [IPAddress],
        inboundListeners: [CInt] = []
    ) {
        self.key = key
        self.id = id
        self.cgroupPath = cgroupPath
        self.namespace = namespace
        self.addresses = addresses
        self.inboundListeners = inboundListeners
    }
}

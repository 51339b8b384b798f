// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// What the programs would do with a workload's connect now.
package struct ConnectCourse: Sendable, Hashable {
    /// What they would count; nil: the connect is none of the mesh's business.
    package let reason: Reason?
    /// With ``Reason/direct``: the servers that the cached verdict leads to.
    package let targets: [SocketAddress]
    /// With ``Reason/direct``: some of the connects go to the proxy all the same, for endpoints elsewhere.
    package let isShared: Bool
    /// The proxy listens for the workload.
    package let hasListener: Bool
    /// Without a proxy, connects go where they would go without nodemesh.
    package let failsOpen: Bool
}

/// What the programs would do now with a connection from elsewhere to a workload's port.
package struct InboundCourse: Sendable, Hashable {
    /// What they would count.
    package let reason: Reason
    package let hasListener: Bool
    package let failsOpen: Bool
    /// ``Enrolment/key`` of the workload that the port belongs to, where several share the namespace.
    package let owner: UInt32?
}

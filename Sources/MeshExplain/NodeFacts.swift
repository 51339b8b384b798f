// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshModel

/// What one node has loaded beside its view of the mesh: the kernel's state, certificates, and what its data plane has
/// learned. A control plane has none of it.
package struct NodeFacts: Sendable {
    /// What becomes of a connection before the proxy sees it.
    package enum Steered: Hashable, Sendable {
        /// The proxy gets it.
        case captured
        /// It goes straight to one of these servers, by a verdict that the proxy left in the kernel. `isShared`: some of
        /// the connections go to the proxy.
        case direct([SocketAddress], isShared: Bool)
        /// It goes where it would go without nodemesh.
        case leftAlone
        case refused
    }

    /// A workload's connects, or connections to one of its ports.
    package struct Hook: Hashable, Sendable {
        package var steered: Steered
        /// The kernel's word for it, as counted and in events; nil: the mesh has nothing to do with it.
        package var reason: String?
        /// Hooks at which nodemesh's program does not run, though it should.
        package var missing: [String]
        package var hasListener: Bool
        package var failsOpen: Bool
        /// Whose the port is, where several workloads share an address; nil: nobody's, or not shared.
        package var owner: WorkloadID?

        package init(
            steered: Steered, reason: String?, missing: [String] = [], hasListener: Bool = true,
            failsOpen: Bool = false, owner: WorkloadID? = nil
        ) {
            self.steered = steered
            self.reason = reason
            self.missing = missing
            self.hasListener = hasListener
            self.failsOpen = failsOpen
            self.owner = owner
        }
    }

    /// The certificate of a workload of this node.
    package struct Certificate: Hashable, Sendable {
        /// The data plane has it.
        package var isHeld: Bool
        package var notAfter: Date?
        package var lastError: String?

        package init(isHeld: Bool, notAfter: Date? = nil, lastError: String? = nil) {
            self.isHeld = isHeld
            self.notAfter = notAfter
            self.lastError = lastError
        }
    }

    /// An endpoint that the data plane has set aside.
    package struct Ejection: Hashable, Sendable {
        package var service: NamespacedName
        package var port: UInt16
        package var address: SocketAddress
        package var secondsLeft: Int

        package init(service: NamespacedName, port: UInt16, address: SocketAddress, secondsLeft: Int) {
            self.service = service
            self.port = port
            self.address = address
            self.secondsLeft = secondsLeft
        }
    }

    /// What connects of a workload to an address meet; nil: it is not enrolled here.
    package var outbound: @Sendable (WorkloadID, SocketAddress) -> Hook?
    /// What plaintext connections to a workload's port meet; nil: it is not enrolled here.
    package var inbound: @Sendable (WorkloadID, UInt16) -> Hook?
    package var certificate: @Sendable (SPIFFEID) -> Certificate
    package var ejections: [Ejection]
    /// Connections of this node to a service, those that are being made included, and those alone.
    package var usage: [NamespacedName: (open: Int, pending: Int)]
    /// Open connections of a workload of this node; nil: not known.
    package var connections: @Sendable (WorkloadID) -> Int?
    /// A destination that nothing in the mesh is known by is passed on as plain TCP.
    package var passesUnknown: Bool
    /// What happens to the next connections after one that is carried locally, in words.
    package var directPath: @Sendable (WorkloadID, SocketAddress) -> String?
    /// Why a connection that could be made cannot: the node's view is too old, or it is not ready. nil: nothing.
    package var problem: String?

    package init(
        outbound: @escaping @Sendable (WorkloadID, SocketAddress) -> Hook?,
        inbound: @escaping @Sendable (WorkloadID, UInt16) -> Hook?,
        certificate: @escaping @Sendable (SPIFFEID) -> Certificate, ejections: [Ejection] = [],
        usage: [NamespacedName: (open: Int, pending: Int)] = [:],
        connections: @escaping @Sendable (WorkloadID) -> Int? = { _ in nil }, passesUnknown: Bool = false,
        directPath: @escaping @Sendable (WorkloadID, SocketAddress) -> String? = { _, _ in nil },
        problem: String? = nil
    ) {
        self.outbound = outbound
        self.inbound = inbound
        self.certificate = certificate
        self.ejections = ejections
        self.usage = usage
        self.connections = connections
        self.passesUnknown = passesUnknown
        self.directPath = directPath
        self.problem = problem
    }
}

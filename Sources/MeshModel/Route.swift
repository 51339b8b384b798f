// SPDX-License-Identifier: Apache-2.0

/// Where a captured connection goes.
package struct Route: Hashable, Sendable {
    package enum Path: Hashable, Sendable {
        /// To a workload of this node, after its policies.
        case local
        /// Through the tunnel port of that node.
        case tunnel(Node)
        /// Plain TCP: the destination is outside the mesh.
        case plain
    }

    /// The service whose virtual address was dialled.
    package var service: NamespacedName?
    package var workload: Workload?
    /// The endpoint's address and the port its application listens on.
    package var address: SocketAddress
    package var path: Path

    package init(service: NamespacedName?, workload: Workload?, address: SocketAddress, path: Path) {
        self.service = service
        self.workload = workload
        self.address = address
        self.path = path
    }

    /// The endpoint's address of the other family; nil: its workload has none.
    package var otherFamily: SocketAddress? {
        let other = self.workload?.addresses.first { $0.family != self.address.ip.family }
        return other.map { SocketAddress(ip: $0, port: self.address.port) }
    }
}

/// Why a captured connection has nowhere to go.
package enum RouteFailure: Error, Hashable, Sendable {
    /// A port of the mesh itself.
    case selfCall
    /// No service and no workload has this address.
    case unknownDestination
    /// Workloads share the address, and none of them listens on this port.
    case unknownSharedPort(SocketAddress)
    /// The service does not have this port.
    case unknownServicePort(NamespacedName)
    /// No workload that backs this port is healthy.
    case noHealthyEndpoint(NamespacedName)
    /// The service demands endpoints near the client, and none of the healthy ones is.
    case noPreferredEndpoint(NamespacedName)
    /// Nothing says where the workload's node is.
    case nodeUnknown(WorkloadID, node: String)

    /// Nothing in the mesh is known by that address.
    package var isUnknown: Bool {
        switch self {
        case .unknownDestination, .unknownSharedPort: true
        case .selfCall, .unknownServicePort, .noHealthyEndpoint, .noPreferredEndpoint, .nodeUnknown: false
        }
    }

    package var reason: CloseReason {
        switch self {
        case .selfCall: .selfCall
        case .unknownDestination, .unknownSharedPort, .unknownServicePort: .unknownDestination
        case .noHealthyEndpoint, .noPreferredEndpoint, .nodeUnknown: .noHealthyEndpoint
        }
    }
}

extension RouteFailure: CustomStringConvertible {
    package var description: String {
        switch self {
        case .selfCall: "the port belongs to the mesh itself; dial the application's port"
        case .unknownDestination: "no service and no workload has this address; apply a Service or enrol the workload"
        case .unknownSharedPort(let address):
            "workloads share address \(address.ip), and none of them listens on port \(address.port)"
        case .unknownServicePort(let service): "service \(service) does not list this port; add it to spec.ports"
        case .noHealthyEndpoint(let service):
            "no workload that backs service \(service) on this port is healthy; check its selector and its nodes"
        case .noPreferredEndpoint(let service):
            "service \(service) is strict about locality, and none of its healthy endpoints matches this node's"
        case .nodeUnknown(let workload, let node):
            "workload \(workload) runs on node \(node), whose address is not known; check that the node has joined"
        }
    }
}

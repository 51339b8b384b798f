// SPDX-License-Identifier: Apache-2.0

/// Finds the endpoints behind service ports while a ``MeshSnapshot`` is built.
struct EndpointBuilder {
    let localNode: String
    let nodes: [String: Node]
    let workloads: [WorkloadID: Workload]
    let backing: [NamespacedName: [WorkloadID]]

    /// The healthy endpoints of a port for clients that dial `address`: in its family where the workload has one.
    func endpoints(of service: Service, port: UInt16, dialled address: IPAddress) -> EndpointSet {
        var candidates: [(endpoint: EndpointSet.Endpoint, weight: UInt32)] = []
        var stranded: RouteFailure?
        for id in self.backing[service.id] ?? [] {
            guard let workload = self.workloads[id], workload.isHealthy,
                let mapping = workload.services[service.id]?.first(where: { $0.servicePort == port }),
                let ip = workload.addresses.first(where: { $0.isIPv4 == address.isIPv4 }) ?? workload.addresses.first
            else { continue }
            if MeshPorts.isReserved(mapping.targetPort) {
                stranded = stranded ?? .selfCall
                continue
            }
            switch Self.path(to: workload, from: self.localNode, nodes: self.nodes) {
            case .success(let path):
                candidates.append(
                    (
                        .init(
                            workload: workload, address: SocketAddress(ip: ip, port: mapping.targetPort), path: path),
                        workload.capacity
                    ))
            case .failure(let failure):
                stranded = stranded ?? failure
            }
        }
        return EndpointSet(candidates, stranded: stranded)
    }

    /// How this node reaches a workload.
    static func path(
        to workload: Workload, from localNode: String, nodes: [String: Node]
    ) -> Result<Route.Path, RouteFailure> {
        switch workload.tunnel {
        case .none:
            return .success(.plain)
        case .tunnel where workload.node == localNode:
            return .success(.local)
        case .tunnel:
            guard let node = nodes[workload.node], !node.addresses.isEmpty else {
                return .failure(.nodeUnknown(workload.id, node: workload.node))
            }
            return .success(.tunnel(node))
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Finds the endpoints behind service ports while a ``MeshSnapshot`` is built.
struct EndpointBuilder {
    let localNode: String
    /// Where this node runs, and so its clients.
    let locality: Locality
    let nodes: [String: Node]
    let workloads: [WorkloadID: Workload]
    let backing: [NamespacedName: [WorkloadID]]

    /// The healthy endpoints of a port for clients that dial `address`: in its family where the workload has one.
    func endpoints(of service: Service, port: UInt16, dialled address: IPAddress, id: Int) -> EndpointSet {
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
            let rank = self.rank(of: workload, for: service.loadBalancing)
            if service.loadBalancing.mode == .strict, rank < service.loadBalancing.preference.count {
                stranded = stranded ?? .noPreferredEndpoint(service.id)
                continue
            }
            switch Self.path(to: workload, from: self.localNode, nodes: self.nodes) {
            case .success(let path):
                candidates.append(
                    (
                        .init(
                            workload: workload, address: SocketAddress(ip: ip, port: mapping.targetPort), path: path,
                            rank: rank),
                        workload.capacity
                    ))
            case .failure(let failure):
                stranded = stranded ?? failure
            }
        }
        return EndpointSet(
            id: id, service: service.id, port: port, policy: service.policy, candidates,
            isRanked: service.loadBalancing.mode == .failover, stranded: stranded)
    }

    /// How many scopes of the preference, from its first, a workload has in common with the clients of this node. Names
    /// are compared as they are, so two unknown ones are equal; the whole mesh is one cluster and one network.
    func rank(of workload: Workload, for balancing: LoadBalancing) -> Int {
        if balancing.mode == .any { return 0 }
        let mismatch = balancing.preference.firstIndex { scope in
            switch scope {
            case .region: workload.locality.region != self.locality.region
            case .zone: workload.locality.zone != self.locality.zone
            case .subzone: workload.locality.subzone != self.locality.subzone
            case .node: workload.node != self.localNode
            case .cluster, .network: false
            }
        }
        return mismatch ?? balancing.preference.count
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

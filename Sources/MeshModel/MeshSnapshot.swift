// SPDX-License-Identifier: Apache-2.0

/// The mesh as one node knows it at one moment, indexed for the questions a proxy asks. It never changes.
package final class MeshSnapshot: Sendable {
    package let settings: MeshSettings
    /// The node that asks.
    package let localNode: String
    /// Where that node is: what it was told, or else what is known of its workloads.
    package let localLocality: Locality

    private let workloadsByID: [WorkloadID: Workload]
    private let workloadsByIP: [IPAddress: Workload]
    /// Workloads that share an address, by the ports that they listen on.
    private let workloadsByPort: [IPAddress: [UInt16: Workload]]
    private let servicesByID: [NamespacedName: Service]
    private let servicesByHostname: [String: NamespacedName]
    private let frontends: [IPAddress: Frontend]
    private let backing: [NamespacedName: [WorkloadID]]
    private let nodesByName: [String: Node]
    private let nodesByIP: [IPAddress: [UInt16]]
    private let policies: PolicyIndex
    /// Only for the workloads of this node: theirs are needed for each connection.
    private let localPolicies: [WorkloadID: PolicySet]

    /// A virtual address and the endpoints behind each of its ports.
    private struct Frontend {
        var service: NamespacedName
        var ports: [UInt16: EndpointSet]
    }

    /// Of two things with one name the later counts. Of two services with one address, the first by name. Of two
    /// workloads with one address (and, where they share it, one port), a healthy one, then one of this node, then the
    /// first by name. An address that a workload has for itself is not shared.
    package init(
        settings: MeshSettings, localNode: String, localLocality: Locality = .init(), workloads: [Workload] = [],
        services: [Service] = [], nodes: [Node] = [], policies: [AuthorizationPolicy] = []
    ) {
        self.settings = settings
        self.localNode = localNode
        self.policies = PolicyIndex(policies)
        self.nodesByName = Dictionary(nodes.map { ($0.name, $0) }, uniquingKeysWith: { $1 })
        self.workloadsByID = Dictionary(workloads.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
        self.servicesByID = Dictionary(services.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
        let services = self.servicesByID.values.sorted { $0.id < $1.id }
        let workloads = self.workloadsByID.values.sorted { $0.id < $1.id }
        self.localLocality =
            localLocality.isKnown
            ? localLocality
            : workloads.first { $0.node == localNode && $0.locality.isKnown }?.locality ?? localLocality

        self.servicesByHostname = Dictionary(
            services.map { ($0.hostname.lowercased(), $0.id) }, uniquingKeysWith: { first, _ in first })
        self.nodesByIP = Dictionary(
            self.nodesByName.values.flatMap { node in node.addresses.map { ($0, [node.tunnelPort]) } },
            uniquingKeysWith: +)

        var byIP: [IPAddress: Workload] = [:]
        var byPort: [IPAddress: [UInt16: Workload]] = [:]
        var backing: [NamespacedName: [WorkloadID]] = [:]
        for workload in workloads {
            for service in workload.services.keys { backing[service, default: []].append(workload.id) }
            if workload.isHostNetwork {
                for address in workload.addresses {
                    var ports = byPort.removeValue(forKey: address) ?? [:]
                    for port in workload.ports {
                        if let other = ports[port], !Self.isPreferred(workload, to: other, on: localNode) { continue }
                        ports[port] = workload
                    }
                    byPort[address] = ports
                }
                continue
            }
            for address in workload.addresses {
                if let other = byIP[address], !Self.isPreferred(workload, to: other, on: localNode) { continue }
                byIP[address] = workload
            }
        }
        self.workloadsByIP = byIP
        self.workloadsByPort = byPort
        self.backing = backing

        let builder = EndpointBuilder(
            localNode: localNode, locality: self.localLocality,
            nodes: self.nodesByName, workloads: self.workloadsByID, backing: backing)
        var frontends: [IPAddress: Frontend] = [:]
        var sets = 0
        for service in services {
            for address in service.addresses where frontends[address] == nil {
                frontends[address] = Frontend(
                    service: service.id,
                    ports: Dictionary(
                        service.ports.map { port in
                            sets += 1
                            return (
                                port.servicePort,
                                builder.endpoints(of: service, port: port.servicePort, dialled: address, id: sets)
                            )
                        }, uniquingKeysWith: { first, _ in first }))
            }
        }
        self.frontends = frontends

        let index = self.policies
        self.localPolicies = Dictionary(
            workloads.filter { $0.node == localNode }.map { ($0.id, index.policies(for: $0)) },
            uniquingKeysWith: { $1 })
    }

    private static func isPreferred(_ new: Workload, to old: Workload, on node: String) -> Bool {
        if new.isHealthy != old.isHealthy { return new.isHealthy }
        return new.node == node && old.node != node
    }

    // MARK: - Looking things up

    package func workload(_ id: WorkloadID) -> Workload? { self.workloadsByID[id] }

    /// The workload that has this address for itself; one that shares it is found by address and port only.
    package func workload(at address: IPAddress) -> Workload? { self.workloadsByIP[address] }

    /// The workload that listens there: the one that has the address for itself, or the one of those that share it.
    package func workload(at address: SocketAddress) -> Workload? {
        self.workloadsByIP[address.ip] ?? self.workloadsByPort[address.ip]?[address.port]
    }

    package func service(_ id: NamespacedName) -> Service? { self.servicesByID[id] }

    /// By virtual address.
    package func service(at address: IPAddress) -> Service? {
        self.frontends[address].flatMap { self.servicesByID[$0.service] }
    }

    /// By hostname, in any case, with or without the final dot.
    package func service(hostname: String) -> Service? {
        let name = hostname.lowercased()
        let id = self.servicesByHostname[name.last == "." ? String(name.dropLast()) : name]
        return id.flatMap { self.servicesByID[$0] }
    }

    package func node(_ name: String) -> Node? { self.nodesByName[name] }

    /// Every workload, by name.
    package var workloads: [Workload] { self.workloadsByID.values.sorted { $0.id < $1.id } }

    /// Every service, by name.
    package var services: [Service] { self.servicesByID.values.sorted { $0.id < $1.id } }

    /// Every node, by name.
    package var nodes: [Node] { self.nodesByName.values.sorted { $0.name < $1.name } }

    package var workloadCount: Int { self.workloadsByID.count }
    package var serviceCount: Int { self.servicesByID.count }
    package var nodeCount: Int { self.nodesByName.count }
    package var policyCount: Int { self.policies.count }

    /// Every workload that backs a service, healthy or not, by name.
    package func workloads(backing service: NamespacedName) -> [Workload] {
        (self.backing[service] ?? []).compactMap { self.workloadsByID[$0] }
    }

    /// Inside the mesh prefixes, where a destination must be resolved.
    package func isInsideMesh(_ address: IPAddress) -> Bool {
        self.settings.prefixes.contains { $0.contains(address) }
    }

    // MARK: - Policy

    /// What applies to a workload: mesh-wide, by namespace, and by the names in its own list.
    package func policies(for workload: Workload) -> PolicySet {
        // A caller may hold a workload of an older view; its list counts, not that of its namesake here.
        if let local = self.localPolicies[workload.id], let known = self.workloadsByID[workload.id],
            known.policies == workload.policies, known.dryRunPolicies == workload.dryRunPolicies
        {
            return local
        }
        return self.policies.policies(for: workload)
    }

    /// May this connection reach that workload?
    package func decide(_ input: PolicyInput, for workload: Workload) -> PolicyDecision {
        self.policies(for: workload).decide(input)
    }

    /// May this connection reach that workload, and why?
    package func trace(_ input: PolicyInput, for workload: Workload) -> PolicyTrace {
        self.policies(for: workload).trace(input)
    }

    // MARK: - Routing

    /// Where a connection to `destination` goes. A service's virtual address leads to one of its healthy endpoints; a
    /// workload's own address leads to it, healthy or not, since the client named it.
    ///
    /// - Parameters:
    ///   - tried: endpoints of a service that are not wanted again.
    ///   - pick: is given the total weight of the candidates and answers with a number below it. It is called only when
    ///     there is a choice.
    package func route(
        to destination: SocketAddress, excluding tried: Set<WorkloadID> = [],
        pick: (_ totalWeight: UInt32) -> UInt32
    ) -> Result<Route, RouteFailure> {
        self.resolve(destination) { $0.choose(excluding: tried, pick) }
    }

    /// As ``route(to:excluding:pick:)``, with another way to choose.
    ///
    /// - Parameter choose: which of the endpoints, as an index into them; nil: none can be used.
    package func resolve(
        _ destination: SocketAddress, choosing choose: (EndpointSet) -> Int?
    ) -> Result<Route, RouteFailure> {
        if let frontend = self.frontends[destination.ip] {
            if MeshPorts.isReserved(destination.port) { return .failure(.selfCall) }
            guard let endpoints = frontend.ports[destination.port] else {
                return .failure(.unknownServicePort(frontend.service))
            }
            guard let index = choose(endpoints) else {
                return .failure(endpoints.stranded ?? .noHealthyEndpoint(frontend.service))
            }
            let endpoint = endpoints.endpoints[index]
            return .success(
                Route(
                    service: frontend.service, workload: endpoint.workload, address: endpoint.address,
                    path: endpoint.path))
        }
        if let workload = self.workload(at: destination) {
            if MeshPorts.isReserved(destination.port) { return .failure(.selfCall) }
            return EndpointBuilder.path(to: workload, from: self.localNode, nodes: self.nodesByName).map {
                Route(service: nil, workload: workload, address: destination, path: $0)
            }
        }
        if let ports = self.nodesByIP[destination.ip], ports.contains(destination.port) {
            return .failure(.selfCall)
        }
        if self.workloadsByPort[destination.ip] != nil { return .failure(.unknownSharedPort(destination)) }
        return .failure(.unknownDestination)
    }

    /// Where this node dials the tunnels of another one: its first address in a family that this node has itself, as
    /// far as that is known.
    package func tunnelAddress(of node: Node) -> IPAddress? {
        guard node.addresses.count > 1, let own = self.nodesByName[self.localNode]?.addresses, !own.isEmpty else {
            return node.addresses.first
        }
        return node.addresses.first { address in own.contains { $0.isIPv4 == address.isIPv4 } } ?? node.addresses.first
    }
}

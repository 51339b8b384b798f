// SPDX-License-Identifier: Apache-2.0

import MeshModel
import MeshResources
import MeshStore

/// A stored resource, readable.
package struct DecodedResource: Sendable {
    package var resource: Resource
    /// Its virtual addresses.
    package var addresses: [IPAddress]
    /// Smaller is older.
    package var created: Int64

    package init(resource: Resource, addresses: [IPAddress] = [], created: Int64 = 0) {
        self.resource = resource
        self.addresses = addresses
        self.created = created
    }
}

/// The mesh as nodes are told of it: what operators declared and nodes registered, put together.
package struct MeshProjection: Sendable, Equatable {
    package var settings: MeshSettings
    package var nodes: [Node]
    package var workloads: [Workload]
    package var services: [Service]
    package var policies: [AuthorizationPolicy]
    /// For operators only.
    package var labels: [WorkloadID: [String: String]]
    /// For operators only.
    package var portNames: [NamespacedName: [UInt16: String]]

    /// - Parameter alive: names of the nodes whose workloads are healthy.
    package init(
        snapshot: StoreSnapshot, resources: [DecodedResource], alive: Set<String>, settings: MeshSettings
    ) throws(UnreadablePolicy) {
        let root = settings.rootNamespace
        var declared = Declarations(resources)
        declared.peerAuthentications.sort { $0.created < $1.created }

        var policies: [AuthorizationPolicy] = []
        for policy in declared.policies { policies.append(try policy.policy(rootNamespace: root)) }
        // Always there, so that a workload that begins to name it does not wait for it.
        policies.append(EffectiveMutualTLS.strictPolicy(rootNamespace: root))
        var known = Set(policies.map(\.id))

        let services = Dictionary(grouping: declared.services, by: \.resource.metadata.namespace)
        let selecting = Dictionary(
            grouping: declared.policies.filter { $0.spec.selector?.matchLabels.isEmpty == false },
            by: \.metadata.namespace)
        let authentications = declared.peerAuthentications.map(\.resource)

        let traffic = EffectiveTrafficPolicy(
            rules: declared.destinationRules.sorted { $0.created < $1.created }.map(\.resource),
            limits: declared.connectionLimits, rootNamespace: root)

        var (workloads, labels) = ([Workload](), [WorkloadID: [String: String]]())
        for entry in Self.candidates(snapshot, declared, alive: alive, trustDomain: settings.trustDomain) {
            var workload = entry.workload
            let namespace = workload.id.namespace
            for service in services[namespace] ?? []
            where service.resource.selects(labels: entry.labels, namespace: namespace) {
                workload.services[service.resource.id] = service.resource.portMappings
            }
            let selected = ((selecting[namespace] ?? []) + (namespace == root ? [] : selecting[root] ?? [])).filter {
                $0.selects(labels: entry.labels, namespace: namespace, rootNamespace: root)
            }
            // Named apart: a node that does not know a name of the first list denies everything.
            var names = selected.filter { !$0.isDryRun }.map(\.id)
            workload.dryRunPolicies = selected.filter(\.isDryRun).map(\.id).sorted()
            let mutualTLS = EffectiveMutualTLS(
                labels: entry.labels, namespace: namespace, rootNamespace: root, resources: authentications)
            workload.peerAuthentication = mutualTLS.origin
            if let policy = mutualTLS.policy(rootNamespace: root) {
                names.append(policy.id)
                if known.insert(policy.id).inserted { policies.append(policy) }
            }
            workload.policies = names.sorted()
            workload.limits = traffic.limits(labels: entry.labels, namespace: namespace)
            workloads.append(workload)
            labels[workload.id] = entry.labels
        }

        self.settings = settings
        self.nodes = snapshot.nodes.filter { $0.tunnelPort != 0 && !$0.addresses.isEmpty }.map {
            Node(name: $0.name, addresses: $0.addresses, tunnelPort: $0.tunnelPort)
        }
        self.workloads = workloads
        self.labels = labels
        self.services = declared.services.map {
            Service(
                id: $0.resource.id, addresses: $0.addresses, ports: $0.resource.portMappings,
                loadBalancing: traffic.loadBalancing(for: $0.resource), policy: traffic.policy(for: $0.resource.id))
        }
        self.portNames = declared.services.reduce(into: [:]) { result, service in
            result[service.resource.id] = service.resource.spec.ports.reduce(into: [:]) { $0[$1.port] = $1.name }
        }
        self.policies = policies
    }

    /// Every workload with its labels: those that nodes run, then those that operators declared.
    private static func candidates(
        _ snapshot: StoreSnapshot, _ declared: Declarations, alive: Set<String>, trustDomain: String
    ) -> [(workload: Workload, labels: [String: String])] {
        let localities = Dictionary(snapshot.nodes.map { ($0.name, $0.locality) }, uniquingKeysWith: { $1 })
        let registered = snapshot.workloads.map { record in
            let workload = Workload(
                id: record.id, addresses: record.addresses, node: record.node, serviceAccount: record.serviceAccount,
                trustDomain: trustDomain, isHealthy: alive.contains(record.node),
                isHostNetwork: record.isHostNetwork, ports: record.ports, capacity: record.weight,
                canonicalName: record.labels["app"],
                canonicalRevision: Workload.canonicalRevision(record.labels),
                locality: localities[record.node] ?? Locality())
            return (workload: workload, labels: record.labels)
        }
        return registered
            + declared.workloads.map { resource in
                var workload = resource.workload(trustDomain: trustDomain)
                // A tunnel needs its node; plain TCP needs nobody.
                if workload.tunnel == .tunnel { workload.isHealthy = alive.contains(workload.node) }
                if !workload.locality.isKnown { workload.locality = localities[workload.node] ?? Locality() }
                return (workload: workload, labels: resource.metadata.labels)
            }
    }
}

/// Resources by kind.
private struct Declarations {
    var services: [(resource: ServiceResource, addresses: [IPAddress])] = []
    var workloads: [WorkloadResource] = []
    var policies: [AuthorizationPolicyResource] = []
    var peerAuthentications: [(resource: PeerAuthenticationResource, created: Int64)] = []
    var destinationRules: [(resource: DestinationRuleResource, created: Int64)] = []
    var connectionLimits: [ConnectionLimitsResource] = []

    init(_ resources: [DecodedResource]) {
        for entry in resources {
            switch entry.resource {
            case .service(let service): self.services.append((service, entry.addresses))
            case .workload(let workload): self.workloads.append(workload)
            case .authorizationPolicy(let policy): self.policies.append(policy)
            case .peerAuthentication(let authentication):
                self.peerAuthentications.append((authentication, entry.created))
            case .destinationRule(let rule): self.destinationRules.append((rule, entry.created))
            case .connectionLimits(let limits): self.connectionLimits.append(limits)
            }
        }
    }
}

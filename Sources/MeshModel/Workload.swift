// SPDX-License-Identifier: Apache-2.0

/// How peers reach a workload from another node.
package enum TunnelProtocol: String, Sendable, Hashable {
    /// Plain TCP to the workload's address: it is outside the mesh.
    case none
    /// Through its node's tunnel port, under its identity.
    case tunnel
}

/// A workload as every node of the mesh knows it: where it runs, who it is, what it backs.
package struct Workload: Hashable, Sendable {
    package var id: WorkloadID
    package var addresses: [IPAddress]
    /// The node that runs it; empty for a static endpoint outside the mesh.
    package var node: String
    package var serviceAccount: String
    package var trustDomain: String
    package var tunnel: TunnelProtocol
    package var isHealthy: Bool
    /// Shares its node's address with other workloads, so an address alone never names it.
    package var isHostNetwork: Bool
    /// Where it listens, in ascending order; known only of a workload that shares its address.
    package var ports: [UInt16]
    /// Weight in endpoint choice; at least 1.
    package var capacity: UInt32
    /// The services it backs, and the ports in each.
    package var services: [NamespacedName: [PortMapping]]
    /// The policies that select it by label; wider scopes apply by namespace.
    package var policies: [NamespacedName]
    /// The dry-run policies that select it by label; unlike those in ``policies``, an unknown one has no effect.
    package var dryRunPolicies: [NamespacedName]
    /// The PeerAuthentication that says whether it accepts plaintext; nil: none does, or it is not known which. One of
    /// ``policies`` enforces it.
    package var peerAuthentication: NamespacedName?
    /// The name in telemetry: the `app` label, or the workload's own name.
    package var canonicalName: String
    /// The version in telemetry: the label `service.istio.io/canonical-revision` or `version`, else `latest`.
    package var canonicalRevision: String
    /// Its node's.
    package var locality: Locality
    /// nil: no resource says anything about it.
    package var limits: WorkloadLimits?

    package init(
        id: WorkloadID, addresses: [IPAddress], node: String, serviceAccount: String, trustDomain: String,
        tunnel: TunnelProtocol = .tunnel, isHealthy: Bool = true, isHostNetwork: Bool = false, ports: [UInt16] = [],
        capacity: UInt32 = 1,
        services: [NamespacedName: [PortMapping]] = [:], policies: [NamespacedName] = [],
        dryRunPolicies: [NamespacedName] = [], peerAuthentication: NamespacedName? = nil,
        canonicalName: String? = nil, canonicalRevision: String? = nil,
        locality: Locality = .init(), limits: WorkloadLimits? = nil
    ) {
        self.id = id
        self.addresses = addresses
        self.node = node
        self.serviceAccount = serviceAccount
        self.trustDomain = trustDomain
        self.tunnel = tunnel
        self.isHealthy = isHealthy
        self.isHostNetwork = isHostNetwork
        self.ports = ports
        self.capacity = max(1, capacity)
        self.services = services
        self.policies = policies
        self.dryRunPolicies = dryRunPolicies
        self.peerAuthentication = peerAuthentication
        self.canonicalName = canonicalName ?? id.name
        self.canonicalRevision = canonicalRevision ?? "latest"
        self.locality = locality
        self.limits = limits
    }

    /// What labels say of ``canonicalRevision``.
    package static func canonicalRevision(_ labels: [String: String]) -> String? {
        let value = labels["service.istio.io/canonical-revision"] ?? labels["version"]
        return value?.isEmpty == true ? nil : value
    }

    /// nil when the names cannot form a SPIFFE ID.
    package var identity: SPIFFEID? {
        SPIFFEID(
            trustDomain: self.trustDomain,
            subject: .workload(namespace: self.id.namespace, serviceAccount: self.serviceAccount))
    }

    /// The TLS server name under which its node presents its certificate.
    package var serverName: String { "\(self.id.name).\(self.id.namespace).workload.mesh.internal" }
}

/// A service port and the port its endpoints listen on.
package struct PortMapping: Hashable, Sendable {
    package var servicePort: UInt16
    package var targetPort: UInt16

    package init(servicePort: UInt16, targetPort: UInt16) {
        self.servicePort = servicePort
        self.targetPort = targetPort
    }
}

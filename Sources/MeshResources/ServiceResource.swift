// SPDX-License-Identifier: Apache-2.0

package import MeshModel

/// `v1` Service: a name and a virtual address for the workloads that its selector finds in its namespace.
package struct ServiceResource: Codable, Hashable, Sendable {
    package struct Spec: Codable, Hashable, Sendable {
        package var selector: [String: String]
        @OmittedWhenEmpty package var ports: [Port]
        /// An address, or `None` for a service without a virtual address; nil: one is assigned.
        package var clusterIP: String?
        @OmittedWhenEmpty package var clusterIPs: [String]
        @OmittedWhenEmpty package var ipFamilies: [IPFamily]
        package var ipFamilyPolicy: IPFamilyPolicy?
        /// `Local`: only endpoints on the client's node; nil: on every node.
        package var internalTrafficPolicy: String?
        package var trafficDistribution: TrafficDistribution?

        package init(
            selector: [String: String], ports: [Port], clusterIP: String? = nil, clusterIPs: [String] = [],
            ipFamilies: [IPFamily] = [], ipFamilyPolicy: IPFamilyPolicy? = nil,
            internalTrafficPolicy: String? = nil, trafficDistribution: TrafficDistribution? = nil
        ) {
            self.selector = selector
            self.ports = ports
            self.clusterIP = clusterIP
            self.clusterIPs = clusterIPs
            self.ipFamilies = ipFamilies
            self.ipFamilyPolicy = ipFamilyPolicy
            self.internalTrafficPolicy = internalTrafficPolicy
            self.trafficDistribution = trafficDistribution
        }
    }

    package enum IPFamilyPolicy: String, Codable, Hashable, Sendable, CaseIterable {
        case singleStack = "SingleStack"
        case preferDualStack = "PreferDualStack"
        case requireDualStack = "RequireDualStack"
    }

    package struct Port: Codable, Hashable, Sendable {
        package var name: String?
        package var port: UInt16
        /// nil: the same as `port`.
        package var targetPort: UInt16?
        /// `TCP`, or nil for the same.
        package var `protocol`: String?
        /// A hint for people; connections are carried as plain TCP.
        package var appProtocol: String?

        package init(
            name: String? = nil, port: UInt16, targetPort: UInt16? = nil, protocol: String? = nil,
            appProtocol: String? = nil
        ) {
            self.name = name
            self.port = port
            self.targetPort = targetPort
            self.protocol = `protocol`
            self.appProtocol = appProtocol
        }
    }

    package private(set) var apiVersion = ResourceKind.service.apiVersion
    package private(set) var kind = ResourceKind.service
    package var metadata: ResourceMetadata
    package var spec: Spec

    package init(metadata: ResourceMetadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
    }

    package var id: NamespacedName { self.metadata.id }

    package var isHeadless: Bool { self.spec.clusterIP == "None" }

    /// The families in which an address has to be assigned. A document that says nothing gets one of each.
    package var assignedFamilies: [IPFamily] {
        if self.isHeadless { return [] }
        let named = Set(self.requestedAddresses.map(\.family))
        let wanted: [IPFamily] =
            switch self.spec.ipFamilyPolicy {
            case .singleStack: named.isEmpty ? [self.spec.ipFamilies.first ?? .ipv4] : []
            case .preferDualStack, .requireDualStack: IPFamily.allCases
            case nil where self.spec.ipFamilies.isEmpty: named.isEmpty ? IPFamily.allCases : []
            case nil: self.spec.ipFamilies
            }
        return wanted.filter { !named.contains($0) }
    }

    /// The virtual addresses that the document asks for.
    package var requestedAddresses: [IPAddress] {
        let texts = self.spec.clusterIPs.isEmpty ? [self.spec.clusterIP].compactMap { $0 } : self.spec.clusterIPs
        return texts.compactMap { IPAddress($0) }
    }

    package var portMappings: [PortMapping] {
        self.spec.ports.map { PortMapping(servicePort: $0.port, targetPort: $0.targetPort ?? $0.port) }
    }

    /// Which endpoints it prefers; the field counts before the annotation.
    package var loadBalancing: LoadBalancing {
        if self.spec.internalTrafficPolicy == "Local" { return LoadBalancing(preference: [.node], mode: .strict) }
        let annotation = self.metadata.annotations[TrafficDistribution.annotation]
        let distribution = self.spec.trafficDistribution ?? annotation.flatMap { TrafficDistribution(annotation: $0) }
        return distribution?.loadBalancing ?? LoadBalancing()
    }

    /// Does a workload with these labels in that namespace back the service? A selector without labels finds nothing.
    package func selects(labels: [String: String], namespace: String) -> Bool {
        namespace == self.metadata.namespace && !self.spec.selector.isEmpty
            && LabelSelector(matchLabels: self.spec.selector).matches(labels)
    }
}

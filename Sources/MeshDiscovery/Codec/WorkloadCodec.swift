// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import MeshModel
import SwiftProtobuf

extension Istio_Workload_Workload {
    /// - Parameter meshTrustDomain: what a workload that names no trust domain is in.
    init(_ workload: Workload, meshTrustDomain: String = "") throws {
        self.init()
        self.uid = MeshResource.uid(of: workload.id)
        self.name = workload.id.name
        self.namespace = workload.id.namespace
        self.addresses = workload.addresses.map { Data($0.bytes) }
        self.tunnelProtocol =
            switch workload.tunnel {
            case .none: .none
            case .tunnel: .hbone
            }
        self.trustDomain = workload.trustDomain == meshTrustDomain ? "" : workload.trustDomain
        self.serviceAccount = workload.serviceAccount
        self.node = workload.node
        self.canonicalName = workload.canonicalName
        self.canonicalRevision = workload.canonicalRevision
        self.workloadType = .pod
        self.workloadName = workload.id.name
        self.authorizationPolicies = workload.policies.map(\.description)
        self.status = workload.isHealthy ? .healthy : .unhealthy
        self.networkMode = workload.isHostNetwork ? .hostNetwork : .standard
        if workload.capacity != 1 { self.capacity = .init(workload.capacity) }
        if workload.locality != Locality() { self.locality = .init(workload.locality) }
        if let limits = workload.limits { self.extensions.append(try .init(Nodemesh_V1_WorkloadLimits(limits))) }
        if !workload.ports.isEmpty {
            self.extensions.append(
                try .init(Nodemesh_V1_WorkloadPorts.with { $0.ports = workload.ports.map(UInt32.init) }))
        }
        if !workload.dryRunPolicies.isEmpty {
            self.extensions.append(
                try .init(
                    Nodemesh_V1_DryRunPolicies.with { $0.policies = workload.dryRunPolicies.map(\.description) }))
        }
        if let origin = workload.peerAuthentication {
            self.extensions.append(
                try .init(Nodemesh_V1_PeerAuthenticationOrigin.with { $0.name = origin.description }))
        }
        for (service, ports) in workload.services {
            self.services[ServiceKey.text(service)] = .with { $0.ports = ports.map(Istio_Workload_Port.init) }
        }
    }
}

extension Workload {
    init(_ message: Istio_Workload_Workload, trustDomain: String) throws(ResourceError) {
        try Self.refuseUnsupported(message)
        let domain = message.trustDomain.isEmpty ? trustDomain : message.trustDomain
        guard SPIFFEID.isValidTrustDomain(domain) else {
            throw ResourceError("trust_domain", "\"\(domain.prefix(64))\" is not a trust domain")
        }
        let id = WorkloadID(
            namespace: try Field.name(message.namespace, "namespace"), name: try Field.name(message.name, "name"))
        if message.uid.hasPrefix(MeshResource.uidPrefix), message.uid != MeshResource.uid(of: id) {
            throw ResourceError("uid", "\"\(message.uid.prefix(256))\" is not the uid of \(id)")
        }
        if message.uid.isEmpty { throw ResourceError("uid", "is missing") }
        self.init(
            id: id,
            addresses: try Field.list(message.addresses, "addresses", Field.address),
            node: message.node.isEmpty ? "" : try Field.name(message.node, "node"),
            serviceAccount: try Field.name(
                message.serviceAccount.isEmpty ? "default" : message.serviceAccount, "service_account"),
            trustDomain: domain,
            tunnel: try Self.tunnel(message.tunnelProtocol),
            isHealthy: try Self.isHealthy(message.status),
            isHostNetwork: try Self.isHostNetwork(message.networkMode),
            ports: try Self.ports(message),
            capacity: try Self.capacity(message),
            services: try Self.services(message.services),
            policies: try Field.list(message.authorizationPolicies, "authorization_policies", Self.policy),
            dryRunPolicies: try Field.list(
                try Istio_Workload_Extension.find(Nodemesh_V1_DryRunPolicies.self, in: message.extensions)?.policies
                    ?? [], "dry_run_policies", Self.policy),
            peerAuthentication:
                try Istio_Workload_Extension
                .find(Nodemesh_V1_PeerAuthenticationOrigin.self, in: message.extensions)
                .flatMap { NamespacedName($0.name) },
            canonicalName: message.canonicalName.isEmpty
                ? nil : try Field.name(message.canonicalName, "canonical_name"),
            canonicalRevision: message.canonicalRevision.isEmpty
                ? nil : try Field.name(message.canonicalRevision, "canonical_revision"),
            locality: try Locality(message.locality),
            limits: try Istio_Workload_Extension.find(Nodemesh_V1_WorkloadLimits.self, in: message.extensions).map {
                limits throws(ResourceError) in try WorkloadLimits(limits)
            })
        if self.tunnel == .tunnel, self.node.isEmpty {
            throw ResourceError("node", "is missing; a workload behind a tunnel has one")
        }
    }

    private static func refuseUnsupported(_ message: Istio_Workload_Workload) throws(ResourceError) {
        try Field.absent(message.hasWaypoint, "waypoint")
        try Field.absent(message.hasApplicationTunnel, "application_tunnel")
        try Field.absent(message.nativeTunnel, "native_tunnel")
        try Field.absent(!message.network.isEmpty, "network")
        try Field.absent(!message.hostname.isEmpty && message.addresses.isEmpty, "hostname")
    }

    private static func tunnel(_ value: Istio_Workload_TunnelProtocol) throws(ResourceError) -> TunnelProtocol {
        switch value {
        case .none: return .none
        case .hbone: return .tunnel
        case .legacyIstioMtls, .UNRECOGNIZED:
            throw ResourceError("tunnel_protocol", "\(value.rawValue) is not supported by this node")
        }
    }

    private static func isHealthy(_ value: Istio_Workload_WorkloadStatus) throws(ResourceError) -> Bool {
        switch value {
        case .healthy: return true
        case .unhealthy: return false
        case .UNRECOGNIZED(let number): throw ResourceError("status", "\(number) is unknown")
        }
    }

    private static func isHostNetwork(_ value: Istio_Workload_NetworkMode) throws(ResourceError) -> Bool {
        switch value {
        case .standard: return false
        case .hostNetwork: return true
        case .UNRECOGNIZED(let number): throw ResourceError("network_mode", "\(number) is unknown")
        }
    }

    private static func ports(_ message: Istio_Workload_Workload) throws(ResourceError) -> [UInt16] {
        guard let found = try Istio_Workload_Extension.find(Nodemesh_V1_WorkloadPorts.self, in: message.extensions)
        else { return [] }
        let ports = try Field.list(found.ports, "extensions.ports") { port, field throws(ResourceError) in
            try Field.port(port, field)
        }
        return Set(ports).sorted()
    }

    private static func capacity(_ message: Istio_Workload_Workload) throws(ResourceError) -> UInt32 {
        guard message.hasCapacity else { return 1 }
        guard message.capacity.value > 0 else { throw ResourceError("capacity", "0 is not a weight") }
        return message.capacity.value
    }

    private static func services(
        _ message: [String: Istio_Workload_PortList]
    ) throws(ResourceError) -> [NamespacedName: [PortMapping]] {
        guard message.count <= Field.maximumCount else {
            throw ResourceError("services", "has \(message.count) elements, more than \(Field.maximumCount)")
        }
        var services: [NamespacedName: [PortMapping]] = [:]
        for (key, list) in message {
            guard let id = ServiceKey.parse(key) else {
                throw ResourceError("services", "\"\(key.prefix(128))\" is not namespace/name.namespace.mesh.internal")
            }
            services[id] = try Field.list(list.ports, "services[\(key)].ports", PortMapping.decode)
        }
        return services
    }

    private static func policy(_ text: String, _ field: String) throws(ResourceError) -> NamespacedName {
        guard let id = NamespacedName(text), SPIFFEID.isValidSegment(id.namespace), SPIFFEID.isValidSegment(id.name)
        else { throw ResourceError(field, "\"\(text.prefix(128))\" is not namespace/name") }
        return id
    }
}

extension Istio_Workload_Port {
    init(_ mapping: PortMapping) {
        self.init()
        self.servicePort = UInt32(mapping.servicePort)
        self.targetPort = UInt32(mapping.targetPort)
    }
}

extension PortMapping {
    static func decode(_ message: Istio_Workload_Port, _ field: String) throws(ResourceError) -> PortMapping {
        let port = try Field.port(message.servicePort, "\(field).service_port")
        return PortMapping(
            servicePort: port,
            targetPort: message.targetPort == 0 ? port : try Field.port(message.targetPort, "\(field).target_port"))
    }
}

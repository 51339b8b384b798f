// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import MeshDiscovery
import MeshModel
import SwiftProtobuf

extension MeshProjection {
    /// The name of the one resource of the mesh's own type.
    package static let meshResourceName = "mesh"

    /// Everything nodes subscribe to, as it stands on the wire.
    package func discoveryResources() throws -> [ResourceType: [DiscoveryResource]] {
        [
            .mesh: [try .init(name: Self.meshResourceName, message: self.settings.message)],
            .node: try self.nodes.map { try .init(name: $0.name, message: $0.message) },
            .authorization: try self.policies.map { try .init(name: $0.id.description, message: $0.message) },
            .address: try self.workloads.map { workload in
                var address = Istio_Workload_Address()
                address.workload = workload.message(meshTrustDomain: self.settings.trustDomain)
                return try .init(
                    name: address.workload.uid, message: address,
                    aliases: workload.isHostNetwork ? [] : workload.addresses.map { "/\($0)" })
            }
                + self.services.map { service in
                    var address = Istio_Workload_Address()
                    address.service = service.message
                    return try .init(
                        name: service.wireKey, message: address, aliases: service.addresses.map { "/\($0)" })
                },
        ]
    }
}

extension DiscoveryResource {
    /// Equal messages become equal bytes, so that a version changes exactly when the content does.
    fileprivate init(name: String, message: some Message, aliases: [String] = []) throws {
        var options = BinaryEncodingOptions()
        options.useDeterministicOrdering = true
        let payload: Data = try message.serializedBytes(options: options)
        self.init(name: name, payload: payload, aliases: aliases)
    }
}

extension Service {
    /// `namespace/hostname`: the key of services on the wire.
    package var wireKey: String { "\(self.id.namespace)/\(self.hostname)" }

    fileprivate var message: Istio_Workload_Service {
        var message = Istio_Workload_Service()
        message.name = self.id.name
        message.namespace = self.id.namespace
        message.hostname = self.hostname
        message.addresses = self.addresses.map { address in
            var network = Istio_Workload_NetworkAddress()
            network.address = Data(address.bytes)
            return network
        }
        message.ports = self.ports.map(\.message)
        return message
    }
}

extension PortMapping {
    fileprivate var message: Istio_Workload_Port {
        var message = Istio_Workload_Port()
        message.servicePort = UInt32(self.servicePort)
        message.targetPort = UInt32(self.targetPort)
        return message
    }
}

extension Workload {
    /// The primary key of workloads on the wire.
    package var wireUID: String { "nodemesh/Workload/\(self.id)" }

    fileprivate func message(meshTrustDomain: String) -> Istio_Workload_Workload {
        var message = Istio_Workload_Workload()
        message.uid = self.wireUID
        message.name = self.id.name
        message.namespace = self.id.namespace
        message.addresses = self.addresses.map { Data($0.bytes) }
        message.tunnelProtocol = self.tunnel == .tunnel ? .hbone : .none
        message.trustDomain = self.trustDomain == meshTrustDomain ? "" : self.trustDomain
        message.serviceAccount = self.serviceAccount
        message.node = self.node
        message.canonicalName = self.canonicalName
        message.workloadType = .pod
        message.workloadName = self.id.name
        message.status = self.isHealthy ? .healthy : .unhealthy
        message.networkMode = self.isHostNetwork ? .hostNetwork : .standard
        message.authorizationPolicies = self.policies.map(\.description)
        if self.capacity != 1 { message.capacity = .init(self.capacity) }
        for (service, ports) in self.services {
            var list = Istio_Workload_PortList()
            list.ports = ports.map(\.message)
            // The key has the service's hostname, which follows from its name.
            message.services[Service(id: service, addresses: [], ports: []).wireKey] = list
        }
        return message
    }
}

extension Node {
    fileprivate var message: Nodemesh_V1_Node {
        var message = Nodemesh_V1_Node()
        message.name = self.name
        message.addresses = self.addresses.map { Data($0.bytes) }
        message.tunnelPort = UInt32(self.tunnelPort)
        return message
    }
}

extension MeshSettings {
    fileprivate var message: Nodemesh_V1_Mesh {
        var message = Nodemesh_V1_Mesh()
        message.trustDomain = self.trustDomain
        message.trustBundle = self.trustBundle
        message.rootNamespace = self.rootNamespace
        message.prefixes = self.prefixes.map { prefix in
            var wire = Nodemesh_V1_Mesh.Prefix()
            wire.address = Data(prefix.address.bytes)
            wire.length = UInt32(prefix.length)
            return wire
        }
        return message
    }
}

extension AuthorizationPolicy {
    fileprivate var message: Istio_Security_Authorization {
        var message = Istio_Security_Authorization()
        message.name = self.id.name
        message.namespace = self.id.namespace
        message.scope =
            switch self.scope {
            case .global: .global
            case .namespace: .namespace
            case .workloadSelector: .workloadSelector
            }
        message.action =
            switch self.action {
            case .allow: .allow
            case .deny: .deny
            }
        message.dryRun = self.isDryRun
        message.rules = self.rules.map { rule in
            var wire = Istio_Security_Rule()
            wire.clauses = rule.clauses.map { clause in
                var wire = Istio_Security_Clause()
                wire.matches = clause.matches.map(\.message)
                return wire
            }
            return wire
        }
        return message
    }
}

extension AuthorizationPolicy.Match {
    fileprivate var message: Istio_Security_Match {
        var message = Istio_Security_Match()
        message.namespaces = self.namespaces.map(\.message)
        message.notNamespaces = self.notNamespaces.map(\.message)
        message.principals = self.principals.map(\.message)
        message.notPrincipals = self.notPrincipals.map(\.message)
        message.sourceIps = self.sourceIPs.map(\.message)
        message.notSourceIps = self.notSourceIPs.map(\.message)
        message.destinationIps = self.destinationIPs.map(\.message)
        message.notDestinationIps = self.notDestinationIPs.map(\.message)
        message.destinationPorts = self.destinationPorts.map { UInt32($0) }
        message.notDestinationPorts = self.notDestinationPorts.map { UInt32($0) }
        message.serviceAccounts = self.serviceAccounts.map(\.serviceAccountMessage)
        message.notServiceAccounts = self.notServiceAccounts.map(\.serviceAccountMessage)
        return message
    }
}

extension AuthorizationPolicy.StringMatch {
    fileprivate var message: Istio_Security_StringMatch {
        var message = Istio_Security_StringMatch()
        switch self {
        case .exact(let text): message.exact = text
        case .prefix(let text): message.prefix = text
        case .suffix(let text): message.suffix = text
        case .presence: message.presence = Google_Protobuf_Empty()
        }
        return message
    }
}

extension IPPrefix {
    fileprivate var message: Istio_Security_Address {
        var message = Istio_Security_Address()
        message.address = Data(self.address.bytes)
        message.length = UInt32(self.length)
        return message
    }
}

extension NamespacedName {
    fileprivate var serviceAccountMessage: Istio_Security_ServiceAccountMatch {
        var message = Istio_Security_ServiceAccountMatch()
        message.namespace = self.namespace
        message.serviceAccount = self.name
        return message
    }
}

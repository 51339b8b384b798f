// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import MeshModel
import SwiftProtobuf

/// `namespace/hostname`, under which a service is distributed and workloads name it.
enum ServiceKey {
    static func text(_ id: NamespacedName) -> String {
        "\(id.namespace)/\(Service(id: id, addresses: [], ports: []).hostname)"
    }

    static func parse(_ text: String) -> NamespacedName? {
        guard let pair = NamespacedName(text), let label = pair.name.split(separator: ".").first else { return nil }
        let id = NamespacedName(namespace: pair.namespace, name: String(label))
        guard SPIFFEID.isValidSegment(id.namespace), SPIFFEID.isValidSegment(id.name), self.text(id) == text
        else { return nil }
        return id
    }
}

extension Istio_Workload_Service {
    init(_ service: Service) throws {
        self.init()
        self.name = service.id.name
        self.namespace = service.id.namespace
        self.hostname = service.hostname
        self.addresses = service.addresses.map { address in .with { $0.address = Data(address.bytes) } }
        self.ports = service.ports.map(Istio_Workload_Port.init)
        if service.loadBalancing != LoadBalancing() { self.loadBalancing = .init(service.loadBalancing) }
        if let policy = service.policy { self.extensions = [try .init(Nodemesh_V1_DestinationPolicy(policy))] }
    }
}

extension Service {
    init(_ message: Istio_Workload_Service) throws(ResourceError) {
        try Field.absent(message.hasWaypoint || !message.weightedWaypoints.isEmpty, "waypoint")
        let id = NamespacedName(
            namespace: try Field.name(message.namespace, "namespace"), name: try Field.name(message.name, "name"))
        self.init(
            id: id,
            addresses: try Field.list(message.addresses, "addresses") { address, field throws(ResourceError) in
                try Field.absent(!address.network.isEmpty, "\(field).network")
                try Field.absent(address.hasLength, "\(field).length")
                return try Field.address(address.address, "\(field).address")
            },
            ports: try Field.list(message.ports, "ports", PortMapping.decode),
            loadBalancing: try LoadBalancing(message.loadBalancing),
            policy: try Istio_Workload_Extension.find(Nodemesh_V1_DestinationPolicy.self, in: message.extensions).map {
                policy throws(ResourceError) in try DestinationPolicy(policy)
            })
        guard message.hostname == self.hostname else {
            throw ResourceError("hostname", "\"\(message.hostname.prefix(256))\" is not \(self.hostname)")
        }
        guard Set(self.ports.map(\.servicePort)).count == self.ports.count else {
            throw ResourceError("ports", "name one service port twice")
        }
    }
}

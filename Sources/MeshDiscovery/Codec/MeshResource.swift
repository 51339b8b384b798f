// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import MeshModel
import SwiftProtobuf

/// A discovery resource as the value it stands for.
package enum MeshResource: Sendable, Hashable {
    case settings(MeshSettings)
    case node(Node)
    case policy(AuthorizationPolicy)
    case workload(Workload)
    case service(Service)

    package var type: ResourceType {
        switch self {
        case .settings: .mesh
        case .node: .node
        case .policy(let policy): policy.isDryRun ? .dryRun : .authorization
        case .workload, .service: .address
        }
    }

    /// The name under which it is distributed.
    package var name: String {
        switch self {
        case .settings: Self.settingsName
        case .node(let node): node.name
        case .policy(let policy): policy.id.description
        case .workload(let workload): Self.uid(of: workload.id)
        case .service(let service): "\(service.id.namespace)/\(service.hostname)"
        }
    }

    static let settingsName = "mesh"
    static let uidPrefix = "nodemesh/Workload/"
    static func uid(of id: WorkloadID) -> String { self.uidPrefix + id.description }

    /// Other names: `network/address` of each address, in the one unnamed network.
    private var aliases: [String] {
        switch self {
        case .settings, .node, .policy: []
        case .workload(let workload): workload.isHostNetwork ? [] : workload.addresses.map { "/\($0)" }
        case .service(let service): service.addresses.map { "/\($0)" }
        }
    }

    /// The wire form. Equal values give equal bytes.
    ///
    /// - Parameters:
    ///   - type: another control plane sends dry-run policies among the others; nil: ``type``.
    ///   - trustDomain: the mesh's own, which its workloads need not name.
    package func encoded(as type: ResourceType? = nil, trustDomain: String = "") throws -> DiscoveryResource {
        var options = BinaryEncodingOptions()
        options.useDeterministicOrdering = true
        let payload: Data =
            switch self {
            case .settings(let value): try Nodemesh_V1_Mesh(value).serializedBytes(options: options)
            case .node(let value): try Nodemesh_V1_Node(value).serializedBytes(options: options)
            case .policy(let value) where (type ?? self.type) == .dryRun:
                try Nodemesh_V1_DryRunPolicy.with { $0.policy = .init(value) }.serializedBytes(options: options)
            case .policy(let value): try Istio_Security_Authorization(value).serializedBytes(options: options)
            case .workload(let value):
                try Istio_Workload_Address.with { $0.workload = try .init(value, meshTrustDomain: trustDomain) }
                    .serializedBytes(options: options)
            case .service(let value):
                try Istio_Workload_Address.with { $0.service = try .init(value) }.serializedBytes(options: options)
            }
        return DiscoveryResource(name: self.name, payload: payload, aliases: self.aliases)
    }

    /// Reads a resource and checks every field; what this node would have to ignore at the cost of safety is refused.
    ///
    /// - Parameters:
    ///   - name: under which it was distributed; the content must agree.
    ///   - trustDomain: the mesh's own, for workloads that name none.
    package static func decode(
        _ type: ResourceType, name: String, payload: Data, trustDomain: String
    ) throws(ResourceError) -> MeshResource {
        let resource: MeshResource
        do {
            switch type {
            case .mesh: resource = .settings(try MeshSettings(try Nodemesh_V1_Mesh(serializedBytes: payload)))
            case .node: resource = .node(try Node(try Nodemesh_V1_Node(serializedBytes: payload)))
            case .authorization:
                resource = .policy(try AuthorizationPolicy(try Istio_Security_Authorization(serializedBytes: payload)))
            case .dryRun:
                var policy = try AuthorizationPolicy(try Nodemesh_V1_DryRunPolicy(serializedBytes: payload).policy)
                policy.isDryRun = true
                resource = .policy(policy)
            case .address:
                let address = try Istio_Workload_Address(serializedBytes: payload)
                switch address.type {
                case .workload(let value):
                    guard value.uid == name else {
                        throw ResourceError("uid", "is \"\(value.uid)\", not the resource's name")
                    }
                    // Another control plane's names are its own; two workloads of one id would be a contradiction there.
                    return .workload(try Workload(value, trustDomain: trustDomain))
                case .service(let value): resource = .service(try Service(value))
                case nil: throw ResourceError("type", "is neither a workload nor a service")
                }
            }
        } catch let error as ResourceError {
            throw error
        } catch {
            throw ResourceError("", "is not an encoded \(type.typeURL)")
        }
        guard resource.name == name else {
            throw ResourceError("name", "its content is named \"\(resource.name.prefix(256))\"")
        }
        return resource
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
package import MeshModel

/// One thing that operators declare.
package enum Resource: Hashable, Sendable {
    case service(ServiceResource)
    case workload(WorkloadResource)
    case peerAuthentication(PeerAuthenticationResource)
    case authorizationPolicy(AuthorizationPolicyResource)
    case destinationRule(DestinationRuleResource)
    case connectionLimits(ConnectionLimitsResource)

    package var kind: ResourceKind {
        switch self {
        case .service: .service
        case .workload: .workload
        case .peerAuthentication: .peerAuthentication
        case .authorizationPolicy: .authorizationPolicy
        case .destinationRule: .destinationRule
        case .connectionLimits: .connectionLimits
        }
    }

    package var metadata: ResourceMetadata {
        switch self {
        case .service(let value): value.metadata
        case .workload(let value): value.metadata
        case .peerAuthentication(let value): value.metadata
        case .authorizationPolicy(let value): value.metadata
        case .destinationRule(let value): value.metadata
        case .connectionLimits(let value): value.metadata
        }
    }

    package var id: NamespacedName { self.metadata.id }

    package var key: ResourceKey {
        ResourceKey(kind: self.kind, namespace: self.metadata.namespace, name: self.metadata.name)
    }

    /// The one JSON text of this resource: equal resources have equal texts. It holds what was declared, without
    /// defaults, except that the namespace is always there and the apiVersion is the newest that is understood.
    package func canonicalJSON() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }

    /// Reads what ``canonicalJSON()`` wrote. It checks the structure only: use ``ResourceDecoder`` for what comes from
    /// outside.
    package init(canonicalJSON text: String) throws {
        self = try JSONDecoder().decode(Resource.self, from: Data(text.utf8))
    }
}

extension Resource: Codable {
    private struct Header: Decodable { var kind: ResourceKind }

    package init(from decoder: any Decoder) throws {
        self =
            switch try Header(from: decoder).kind {
            case .service: .service(try ServiceResource(from: decoder))
            case .workload: .workload(try WorkloadResource(from: decoder))
            case .peerAuthentication: .peerAuthentication(try PeerAuthenticationResource(from: decoder))
            case .authorizationPolicy: .authorizationPolicy(try AuthorizationPolicyResource(from: decoder))
            case .destinationRule: .destinationRule(try DestinationRuleResource(from: decoder))
            case .connectionLimits: .connectionLimits(try ConnectionLimitsResource(from: decoder))
            }
    }

    package func encode(to encoder: any Encoder) throws {
        switch self {
        case .service(let value): try value.encode(to: encoder)
        case .workload(let value): try value.encode(to: encoder)
        case .peerAuthentication(let value): try value.encode(to: encoder)
        case .authorizationPolicy(let value): try value.encode(to: encoder)
        case .destinationRule(let value): try value.encode(to: encoder)
        case .connectionLimits(let value): try value.encode(to: encoder)
        }
    }
}

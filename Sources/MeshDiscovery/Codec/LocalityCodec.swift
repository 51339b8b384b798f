// SPDX-License-Identifier: Apache-2.0

import MeshAPI
import MeshModel

extension Istio_Workload_Locality {
    init(_ locality: Locality) {
        self.init()
        self.region = locality.region
        self.zone = locality.zone
        self.subzone = locality.subzone
    }
}

extension Locality {
    init(_ message: Istio_Workload_Locality) throws(ResourceError) {
        self.init(
            region: try Self.part(message.region, "locality.region"),
            zone: try Self.part(message.zone, "locality.zone"),
            subzone: try Self.part(message.subzone, "locality.subzone"))
    }

    private static func part(_ text: String, _ field: String) throws(ResourceError) -> String {
        guard text.isEmpty || Self.isValidPart(text) else {
            throw ResourceError(field, "\"\(text.prefix(64))\" is not a valid name")
        }
        return text
    }
}

extension Istio_Workload_LoadBalancing {
    init(_ value: LoadBalancing) {
        self.init()
        self.routingPreference = value.preference.map { scope in
            switch scope {
            case .region: .region
            case .zone: .zone
            case .subzone: .subzone
            case .node: .node
            case .cluster: .cluster
            case .network: .network
            }
        }
        self.mode =
            switch value.mode {
            case .any: .unspecifiedMode
            case .strict: .strict
            case .failover: .failover
            }
    }
}

extension LoadBalancing {
    init(_ message: Istio_Workload_LoadBalancing) throws(ResourceError) {
        guard message.healthPolicy == .onlyHealthy else {
            throw ResourceError(
                "load_balancing.health_policy", "\(message.healthPolicy.rawValue) is not supported by this node")
        }
        self.init(
            preference: try Field.list(message.routingPreference, "load_balancing.routing_preference", Self.scope),
            mode: try Self.mode(message.mode))
        guard Set(self.preference).count == self.preference.count else {
            throw ResourceError("load_balancing.routing_preference", "names one scope twice")
        }
    }

    private static func scope(
        _ value: Istio_Workload_LoadBalancing.Scope, _ field: String
    ) throws(ResourceError) -> Scope {
        switch value {
        case .region: return .region
        case .zone: return .zone
        case .subzone: return .subzone
        case .node: return .node
        case .cluster: return .cluster
        case .network: return .network
        case .unspecifiedScope, .UNRECOGNIZED: throw ResourceError(field, "\(value.rawValue) is unknown")
        }
    }

    private static func mode(_ value: Istio_Workload_LoadBalancing.Mode) throws(ResourceError) -> Mode {
        switch value {
        case .unspecifiedMode: return .any
        case .strict: return .strict
        case .failover: return .failover
        case .passthrough, .UNRECOGNIZED:
            throw ResourceError("load_balancing.mode", "\(value.rawValue) is not supported by this node")
        }
    }
}

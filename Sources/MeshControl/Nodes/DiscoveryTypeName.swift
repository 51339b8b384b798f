// SPDX-License-Identifier: Apache-2.0

import MeshDiscovery

/// The metric label of a discovery type; what a peer invents becomes one word.
enum DiscoveryTypeName {
    static func of(_ typeURL: String) -> String {
        switch ResourceType(typeURL: typeURL) {
        case .mesh: "mesh"
        case .node: "node"
        case .authorization: "authorization"
        case .address: "address"
        case .dryRun: "dry_run"
        case nil: "unknown"
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// What discovery distributes, in the order in which a stream sends it: facts that others lean on come first, so that
/// a workload never arrives before the policies it names.
package enum ResourceType: Int, Sendable, Hashable, CaseIterable, Comparable {
    case mesh
    case node
    case authorization
    case address
    /// Policies that are never enforced; last, since nothing leans on them.
    case dryRun

    /// A client waits for it before it takes what it was told for the whole mesh. An older control plane does not know
    /// the others and never answers them.
    package var isRequired: Bool {
        switch self {
        case .mesh, .node, .authorization, .address: true
        case .dryRun: false
        }
    }

    package init?(typeURL: String) {
        guard let type = Self.allCases.first(where: { $0.typeURL == typeURL }) else { return nil }
        self = type
    }

    package var typeURL: String {
        switch self {
        case .mesh: "type.googleapis.com/nodemesh.v1.Mesh"
        case .node: "type.googleapis.com/nodemesh.v1.Node"
        case .authorization: "type.googleapis.com/istio.security.Authorization"
        case .address: "type.googleapis.com/istio.workload.Address"
        case .dryRun: "type.googleapis.com/nodemesh.v1.DryRunPolicy"
        }
    }

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

// SPDX-License-Identifier: Apache-2.0

/// What discovery distributes, in the order in which a stream sends it: facts that others lean on come first, so that
/// a workload never arrives before the policies it names.
package enum ResourceType: Int, Sendable, Hashable, CaseIterable, Comparable {
    case mesh
    case node
    case authorization
    case address

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
        }
    }

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

// SPDX-License-Identifier: Apache-2.0

package import MeshModel

/// Which endpoints a Service prefers, in the words of Kubernetes.
package enum TrafficDistribution: String, Codable, Hashable, Sendable, CaseIterable {
    /// The older name of the next.
    case preferClose = "PreferClose"
    case preferSameZone = "PreferSameZone"
    case preferSameNode = "PreferSameNode"

    /// The same, written before Kubernetes had the field; in any case.
    package static let annotation = "networking.istio.io/traffic-distribution"

    package init?(annotation text: String) {
        guard let value = Self.allCases.first(where: { $0.rawValue.lowercased() == text.lowercased() }) else {
            return nil
        }
        self = value
    }

    /// As in the ambient ecosystem: what is not near enough is used when nothing nearer is healthy.
    package var loadBalancing: LoadBalancing {
        switch self {
        case .preferClose, .preferSameZone: LoadBalancing(preference: [.region, .zone], mode: .failover)
        case .preferSameNode: LoadBalancing(preference: [.region, .zone, .subzone, .node], mode: .failover)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// The kinds of resource that operators declare.
package enum ResourceKind: String, Codable, Hashable, Sendable, CaseIterable {
    case service = "Service"
    case workload = "Workload"
    case peerAuthentication = "PeerAuthentication"
    case authorizationPolicy = "AuthorizationPolicy"
    case destinationRule = "DestinationRule"
    case connectionLimits = "ConnectionLimits"

    /// The apiVersion in the canonical form.
    package var apiVersion: String {
        switch self {
        case .service: "v1"
        case .workload, .connectionLimits: "nodemesh.io/v1"
        case .destinationRule: "networking.istio.io/v1"
        case .peerAuthentication, .authorizationPolicy: "security.istio.io/v1"
        }
    }

    /// Every apiVersion that is understood; they mean the same.
    package var acceptedVersions: [String] {
        switch self {
        case .service, .workload, .connectionLimits: [self.apiVersion]
        case .destinationRule:
            [self.apiVersion, "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"]
        case .peerAuthentication, .authorizationPolicy: [self.apiVersion, "security.istio.io/v1beta1"]
        }
    }

    /// Plural and short names, in lower case.
    private var aliases: [String] {
        switch self {
        case .service: ["services", "svc"]
        case .workload: ["workloads", "wl"]
        case .peerAuthentication: ["peerauthentications", "pa"]
        case .authorizationPolicy: ["authorizationpolicies", "ap"]
        case .destinationRule: ["destinationrules", "dr"]
        case .connectionLimits: ["connectionlimit", "cl"]
        }
    }

    /// From what an operator types: singular, plural or short, in any case.
    package init?(argument: String) {
        let text = argument.lowercased()
        guard
            let kind = Self.allCases.first(where: { $0.rawValue.lowercased() == text || $0.aliases.contains(text) })
        else { return nil }
        self = kind
    }
}

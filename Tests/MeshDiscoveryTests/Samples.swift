// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import MeshModel
import SwiftProtobuf

@testable import MeshDiscovery

typealias Request = Envoy_Service_Discovery_V3_DeltaDiscoveryRequest
typealias Response = Envoy_Service_Discovery_V3_DeltaDiscoveryResponse

enum Sample {
    static let address = IPAddress(ipv4: 0x0a00_0001)

    static let settings = MeshSettings(
        trustDomain: "mesh.internal", prefixes: IPPrefix("240.240.0.0/16").map { [$0] } ?? [],
        trustBundle: ["PEM"], rootNamespace: "nodemesh-system")

    static func node(_ name: String = "n1") -> Node { Node(name: name, addresses: [Self.address], tunnelPort: 15008) }

    static func workload(_ name: String = "web-1") -> Workload {
        Workload(
            id: WorkloadID(namespace: "shop", name: name), addresses: [Self.address], node: "n1",
            serviceAccount: "web", trustDomain: "mesh.internal", isHealthy: false, isHostNetwork: true,
            ports: [80, 8443], capacity: 7,
            services: [
                NamespacedName(namespace: "shop", name: "web"): [PortMapping(servicePort: 80, targetPort: 8080)],
                NamespacedName(namespace: "shop", name: "api"): [],
            ],
            policies: [NamespacedName(namespace: "shop", name: "p")],
            dryRunPolicies: [NamespacedName(namespace: "shop", name: "dry")],
            peerAuthentication: NamespacedName(namespace: "shop", name: "strict"), canonicalName: "web")
    }

    static func service(_ name: String = "web") -> Service {
        Service(
            id: NamespacedName(namespace: "shop", name: name), addresses: [Self.address],
            ports: [PortMapping(servicePort: 80, targetPort: 8080)])
    }

    static func policy(
        _ name: String = "p", scope: AuthorizationPolicy.Scope = .namespace, isDryRun: Bool = false
    ) -> AuthorizationPolicy {
        var match = AuthorizationPolicy.Match()
        match.namespaces = [.exact("a"), .prefix("b"), .suffix("c"), .presence]
        match.notNamespaces = [.exact("d")]
        match.principals = [.exact("mesh.internal/ns/a/sa/b")]
        match.notPrincipals = [.presence]
        match.sourceIPs = ["10.0.0.0/8", "fd00::/8"].compactMap { IPPrefix($0) }
        match.notSourceIPs = ["10.1.0.0/16"].compactMap { IPPrefix($0) }
        match.destinationIPs = ["0.0.0.0/0"].compactMap { IPPrefix($0) }
        match.notDestinationIPs = ["::1"].compactMap { IPPrefix($0) }
        match.destinationPorts = [80, 65535]
        match.notDestinationPorts = [1]
        match.serviceAccounts = [NamespacedName(namespace: "a", name: "b")]
        match.notServiceAccounts = [NamespacedName(namespace: "c", name: "d")]
        return AuthorizationPolicy(
            id: NamespacedName(namespace: "shop", name: name), scope: scope, action: .deny,
            rules: [.init(clauses: [.init(matches: [match])]), .init(clauses: [])], isDryRun: isDryRun)
    }

    static func plain(_ name: String, _ text: String = "") -> DiscoveryResource {
        DiscoveryResource(name: name, payload: Data((name + text).utf8))
    }

    static func tables(
        _ address: [DiscoveryResource] = [], authorization: [DiscoveryResource] = []
    ) -> [ResourceType: ResourceTable] {
        var tables: [ResourceType: ResourceTable] = [:]
        for type in ResourceType.allCases {
            tables[type] = ResourceTable(logLength: 16)
            _ = tables[type]?.replace(with: type == .address ? address : type == .authorization ? authorization : [])
        }
        return tables
    }
}

extension Request {
    static func subscribe(
        _ type: ResourceType, names: [String] = [], unsubscribe: [String] = [], holding: [String: String] = [:]
    ) -> Request {
        .with {
            $0.typeURL = type.typeURL
            $0.resourceNamesSubscribe = names
            $0.resourceNamesUnsubscribe = unsubscribe
            $0.initialResourceVersions = holding
        }
    }

    static func answer(_ response: Response, error: String? = nil) -> Request {
        .with {
            $0.typeURL = response.typeURL
            $0.responseNonce = response.nonce
            if let error { $0.errorDetail.message = error }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

typealias Match = AuthorizationPolicy.Match

func ip(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

func address(_ text: String) throws -> SocketAddress { try #require(SocketAddress(text)) }

func prefix(_ text: String) throws -> IPPrefix { try #require(IPPrefix(text)) }

func name(_ text: String) throws -> NamespacedName { try #require(NamespacedName(text)) }

/// A connection to 10.0.0.2:8080; `source` is a SPIFFE ID or nil for plaintext.
func input(
    _ source: String?, from sourceIP: String = "10.0.0.1", to destination: String = "10.0.0.2:8080"
) throws -> PolicyInput {
    PolicyInput(
        sourceIdentity: try source.map { try #require(SPIFFEID($0)) }, sourceIP: try ip(sourceIP),
        destination: try address(destination))
}

let shopper = "spiffe://mesh.internal/ns/shop/sa/web"

/// A policy whose rules are lists of clauses of matches.
func policy(
    _ id: String, _ action: AuthorizationPolicy.Action, _ rules: [[[Match]]],
    scope: AuthorizationPolicy.Scope = .namespace, isDryRun: Bool = false
) throws -> AuthorizationPolicy {
    AuthorizationPolicy(
        id: try name(id), scope: scope, action: action,
        rules: rules.map { .init(clauses: $0.map { .init(matches: $0) }) }, isDryRun: isDryRun)
}

func match(_ change: (inout Match) throws -> Void) rethrows -> Match {
    var match = Match()
    try change(&match)
    return match
}

/// Matches every connection.
let everything: [[Match]] = []

func principal(_ value: AuthorizationPolicy.StringMatch) -> Match { match { $0.principals = [value] } }

func workload(
    _ id: String, at addresses: [String], node: String = "a", change: (inout Workload) throws -> Void = { _ in }
) throws -> Workload {
    var workload = Workload(
        id: try name(id), addresses: try addresses.map { try ip($0) }, node: node, serviceAccount: "default",
        trustDomain: "mesh.internal")
    try change(&workload)
    return workload
}

/// A node's view: this node is `a`.
func snapshot(
    workloads: [Workload] = [], services: [Service] = [], policies: [AuthorizationPolicy] = [],
    nodes: [String] = ["a", "b"]
) throws -> MeshSnapshot {
    MeshSnapshot(
        settings: MeshSettings(
            trustDomain: "mesh.internal", prefixes: [try prefix("240.240.0.0/16"), try prefix("10.0.0.0/16")],
            trustBundle: [], rootNamespace: "nodemesh-system"),
        localNode: "a", workloads: workloads, services: services,
        nodes: try nodes.enumerated().map {
            Node(name: $0.element, addresses: [try ip("172.16.0.\($0.offset + 1)")], tunnelPort: 15008)
        }, policies: policies)
}

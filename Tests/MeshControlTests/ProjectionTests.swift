// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import MeshDiscovery
import MeshModel
import MeshResources
import MeshStore
import SwiftProtobuf
import Testing

@testable import MeshControl

@Suite struct ProjectionTests {
    private let settings = MeshSettings(
        trustDomain: "mesh.internal", prefixes: [IPPrefix(IPAddress(ipv4: 0xf0f0_0001))], trustBundle: ["PEM"],
        rootNamespace: "nodemesh-system")
    private static let strict = "nodemesh-system/istio_converted_static_strict"

    private func project(
        _ yaml: String, workloads: [WorkloadRecord]? = nil, alive: Set<String> = ["n1", "n2"]
    ) throws -> MeshProjection {
        let resources = yaml.isEmpty ? [] : try ResourceDecoder.decode(text: yaml).get()
        let nodes = ["n1", "n2"].map {
            NodeRecord(
                name: $0, addresses: [IPAddress(ipv4: 0x0a00_0001)], tunnelPort: 15008, joinedAt: .now,
                lastSeenAt: nil, generation: 1, joinID: "")
        }
        return try MeshProjection(
            snapshot: StoreSnapshot(
                revision: 1, resources: [], nodes: nodes,
                workloads: try workloads ?? [
                    self.workload("web", app: "web"), self.workload("api", app: "api", on: "n2"),
                ]),
            resources: resources.enumerated().map { index, resource in
                let address = IPAddress(ipv4: 0xf0f0_0100 + UInt32(index))
                return DecodedResource(
                    resource: resource, addresses: resource.kind == .service ? [address] : [], created: Int64(index))
            }, alive: alive, settings: self.settings)
    }

    private func workload(
        _ name: String, app: String, on node: String = "n1", namespace: String = "shop"
    ) throws -> WorkloadRecord {
        WorkloadRecord(
            id: WorkloadID(namespace: namespace, name: name), node: node, serviceAccount: name, labels: ["app": app],
            addresses: [IPAddress(ipv4: 0x0a01_0000 + UInt32(name.utf8.reduce(0) { $0 &* 31 &+ UInt16($1) }))])
    }

    private func policies(_ projection: MeshProjection, of name: String) -> [String] {
        projection.workloads.first { $0.id.name == name }?.policies.map(\.description) ?? ["absent"]
    }

    @Test func aServiceSelectsByLabelInItsNamespace() throws {
        let view = try self.project(
            .service("api"),
            workloads: [
                self.workload("a1", app: "api"), self.workload("a2", app: "api", on: "n2"),
                self.workload("w", app: "web"), self.workload("a3", app: "api", namespace: "other"),
            ])
        let backing = view.workloads.filter { !$0.services.isEmpty }
        #expect(Set(backing.map(\.id.name)) == ["a1", "a2"])
        let ports = try #require(backing.first?.services[NamespacedName(namespace: "shop", name: "api")])
        #expect(ports == [PortMapping(servicePort: 80, targetPort: 8080)])
        #expect(view.services.first?.addresses == [IPAddress(ipv4: 0xf0f0_0100)])
        #expect(view.services.first?.hostname == "api.shop.mesh.internal")
    }

    @Test func workloadsOfASilentNodeAreUnhealthy() throws {
        let view = try self.project("", alive: ["n2"])
        #expect(view.workloads.first { $0.id.name == "web" }?.isHealthy == false)
        #expect(view.workloads.first { $0.id.name == "api" }?.isHealthy == true)
    }

    @Test func declaredWorkloadsJoinTheRegisteredOnes() throws {
        let view = try self.project(
            """
            apiVersion: nodemesh.io/v1
            kind: Workload
            metadata: {name: legacy, namespace: shop, labels: {app: api}}
            spec: {addresses: [192.0.2.7]}
            ---
            """ + "\n" + .service("api"))
        let legacy = try #require(view.workloads.first { $0.id.name == "legacy" })
        #expect(legacy.tunnel == .none)
        #expect(legacy.isHealthy)
        #expect(legacy.services.count == 1)
    }

    @Test func selectorPoliciesAreNamedByTheWorkloadsTheySelect() throws {
        let view = try self.project(
            """
            apiVersion: security.istio.io/v1
            kind: AuthorizationPolicy
            metadata: {name: only-web, namespace: shop}
            spec:
              selector: {matchLabels: {app: api}}
              rules: [{from: [{source: {principals: [mesh.internal/ns/shop/sa/web]}}]}]
            ---
            apiVersion: security.istio.io/v1
            kind: AuthorizationPolicy
            metadata: {name: whole, namespace: shop}
            spec: {action: DENY, rules: [{to: [{operation: {ports: ["22"]}}]}]}
            ---
            apiVersion: security.istio.io/v1
            kind: AuthorizationPolicy
            metadata: {name: mesh-wide, namespace: nodemesh-system}
            spec: {action: DENY, rules: [{to: [{operation: {ports: ["23"]}}]}]}
            """)
        #expect(self.policies(view, of: "api") == ["shop/only-web"])
        #expect(self.policies(view, of: "web") == [])
        let scopes = Dictionary(uniqueKeysWithValues: view.policies.map { ($0.id.description, $0.scope) })
        #expect(scopes["shop/only-web"] == .workloadSelector)
        #expect(scopes["shop/whole"] == .namespace)
        #expect(scopes["nodemesh-system/mesh-wide"] == .global)
        #expect(scopes[Self.strict] == .workloadSelector)
    }

    private static func authentication(
        _ name: String, _ namespace: String, _ mode: String, app: String? = nil, ports: String? = nil
    ) -> String {
        """
        apiVersion: security.istio.io/v1
        kind: PeerAuthentication
        metadata: {name: \(name), namespace: \(namespace)}
        spec:
          mtls: {mode: \(mode)}
        \(app.map { "  selector: {matchLabels: {app: \($0)}}" } ?? "")
        \(ports.map { "  portLevelMtls: {\($0)}" } ?? "")
        ---

        """
    }

    @Test(arguments: [
        ("", []),
        (Self.authentication("default", "nodemesh-system", "STRICT"), [Self.strict]),
        (Self.authentication("default", "shop", "STRICT"), [Self.strict]),
        (Self.authentication("default", "other", "STRICT"), []),
        (
            Self.authentication("default", "nodemesh-system", "STRICT")
                + Self.authentication("default", "shop", "PERMISSIVE"), []
        ),
        (
            Self.authentication("default", "shop", "PERMISSIVE")
                + Self.authentication("api", "shop", "STRICT", app: "api"), [Self.strict]
        ),
        (
            Self.authentication("default", "shop", "STRICT")
                + Self.authentication("api", "shop", "PERMISSIVE", app: "api"), []
        ),
        (
            Self.authentication("default", "nodemesh-system", "STRICT")
                + Self.authentication("default", "shop", "UNSET"), [Self.strict]
        ),
        (
            Self.authentication("api", "shop", "STRICT", app: "api", ports: "\"8080\": {mode: PERMISSIVE}"),
            ["shop/converted_peer_authentication_api"]
        ),
    ])
    func theNarrowestPeerAuthenticationCounts(_ yaml: String, _ expected: [String]) throws {
        let view = try self.project(yaml)
        #expect(self.policies(view, of: "api") == expected)
        // Whatever a workload names is there.
        let known = Set(view.policies.map(\.id))
        #expect(view.workloads.allSatisfy { $0.policies.allSatisfy(known.contains) })
    }

    @Test func theWireFormCarriesEverything() throws {
        let view = try self.project(.service("api") + "\n---\n" + Self.authentication("default", "shop", "STRICT"))
        let resources = try view.discoveryResources()
        let names = { (type: ResourceType) in Set(resources[type]?.map(\.name) ?? []) }
        #expect(names(.mesh) == ["mesh"])
        #expect(names(.node) == ["n1", "n2"])
        #expect(names(.authorization) == [Self.strict])
        #expect(
            names(.address) == [
                "nodemesh/Workload/shop/web", "nodemesh/Workload/shop/api", "shop/api.shop.mesh.internal",
            ])
        let payload = try #require(resources[.address]?.first { $0.name == "nodemesh/Workload/shop/api" }?.payload)
        let workload = try Istio_Workload_Address(serializedBytes: payload).workload
        #expect(workload.tunnelProtocol == .hbone)
        #expect(workload.node == "n2")
        #expect(workload.serviceAccount == "api")
        #expect(workload.authorizationPolicies == [Self.strict])
        #expect(workload.services["shop/api.shop.mesh.internal"]?.ports.first?.targetPort == 8080)
        let service = try #require(resources[.address]?.first { $0.name == "shop/api.shop.mesh.internal" })
        #expect(service.aliases == ["/240.240.1.0"])
    }

    /// What an older node would do with a dry-run policy, or with the name of one, is to enforce it.
    @Test func onlyWhoAsksForDryRunPoliciesHearsOfThem() throws {
        func policy(_ name: String, _ selector: String) -> String {
            """
            ---
            apiVersion: security.istio.io/v1
            kind: AuthorizationPolicy
            metadata: {name: \(name), namespace: shop, annotations: {istio.io/dry-run: "true"}}
            spec: {action: DENY, rules: [{}]\(selector)}

            """
        }
        let view = try self.project(policy("wide", "") + policy("narrow", ", selector: {matchLabels: {app: api}}"))
        let resources = try view.discoveryResources()
        #expect(resources[.authorization]?.map(\.name) == [Self.strict])
        #expect(Set(resources[.dryRun]?.map(\.name) ?? []) == ["shop/narrow", "shop/wide"])
        let api = try #require(view.workloads.first { $0.id.name == "api" })
        #expect(api.policies.isEmpty)
        #expect(api.dryRunPolicies.map(\.description) == ["shop/narrow"])
        let payload = try #require(resources[.address]?.first { $0.name == "nodemesh/Workload/shop/api" }?.payload)
        #expect(try Istio_Workload_Address(serializedBytes: payload).workload.authorizationPolicies.isEmpty)
        // The node that asks evaluates both, and enforces neither.
        let snapshot = MeshSnapshot(view, node: "n2")
        let decision = snapshot.decide(
            PolicyInput(
                sourceIdentity: nil, sourceIP: IPAddress(ipv4: 1),
                destination: SocketAddress(ip: try #require(api.addresses.first), port: 80)), for: api)
        #expect(decision.isAllowed)
        #expect(decision.dryRun.map(\.policy.name) == ["narrow", "wide"])
        #expect(decision.dryRun.allSatisfy { !$0.wouldAllow })
    }

    @Test(
        "which PeerAuthentication decides",
        arguments: [
            ("", nil), (Self.authentication("mesh", "nodemesh-system", "STRICT"), "nodemesh-system/mesh"),
            (
                Self.authentication("mesh", "nodemesh-system", "STRICT") + Self.authentication("own", "shop", "UNSET"),
                "nodemesh-system/mesh"
            ),
            (
                Self.authentication("own", "shop", "STRICT")
                    + Self.authentication("api", "shop", "UNSET", app: "api", ports: "\"8080\": {mode: PERMISSIVE}"),
                "shop/api"
            ),
        ] as [(String, String?)])
    func theOriginOfMutualTLS(_ yaml: String, _ expected: String?) throws {
        let view = try self.project(yaml)
        #expect(view.workloads.first { $0.id.name == "api" }?.peerAuthentication?.description == expected)
    }

    @Test func equalContentHasEqualVersions() throws {
        let yaml = .service("api") + "\n---\n" + .service("web")
        let workloads = [
            WorkloadRecord(
                id: WorkloadID(namespace: "shop", name: "w"), node: "n1", serviceAccount: "w",
                labels: ["app": "api", "x": "y"], addresses: [IPAddress(ipv4: 1)])
        ]
        let first = try self.project(yaml, workloads: workloads).discoveryResources()
        for _ in 0..<20 {
            #expect(try self.project(yaml, workloads: workloads).discoveryResources() == first)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRPCCore
import MeshAPI
import MeshAdminAPI
import MeshDiscovery
import MeshModel
import MeshResources
import MeshStore
import Testing

@testable import MeshControl

/// From what operators write to what the proxy of a node decides by.
@Suite struct TrafficPolicyTests {
    /// A node's end of discovery and the control plane's, with nothing between them.
    private final class Receiver {
        private var server = DeltaServerStream()
        private var client = DeltaClient(node: "n1", trustDomain: "mesh.internal")
        private var tables: [ResourceType: ResourceTable] = [:]

        /// The names that were sent to bring the node up to date.
        func update(to resources: [ResourceType: [DiscoveryResource]]) throws -> [String] {
            for type in ResourceType.allCases {
                var table = self.tables[type] ?? ResourceTable(logLength: 64)
                _ = table.replace(with: resources[type] ?? [])
                let isFirst = self.tables[type] == nil
                self.tables[type] = table
                if isFirst, type == ResourceType.allCases.last {
                    for request in self.client.connected() { _ = try self.server.received(request) }
                }
            }
            var names: [String] = []
            while let response = self.server.next(from: self.tables) {
                names += response.resources.map(\.name) + response.removedResources
                let received = try self.client.received(response)
                #expect(received.refused.isEmpty)
                _ = try self.server.received(received.reply)
            }
            return names.sorted()
        }

        func snapshot(locality: Locality = .init()) throws -> MeshSnapshot {
            let state = self.client.state
            return MeshSnapshot(
                settings: try #require(state.settings), localNode: "n1", localLocality: locality,
                workloads: state.workloads, services: state.services, nodes: state.nodes, policies: state.policies)
        }
    }

    private let api = NamespacedName(namespace: "shop", name: "api")

    private func register(
        _ name: String, _ locality: String, _ workloads: [Nodemesh_V1_WorkloadRegistration], in fixture: Fixture,
        as node: NodeRecord
    ) async throws {
        var request = sync(workloads)
        request.locality = locality
        _ = try await fixture.plane.nodes.sync(
            request, of: AuthenticatedNode(name: name, joinID: node.joinID, notAfter: .distantFuture))
    }

    private func resources(_ fixture: Fixture) async throws -> [ResourceType: [DiscoveryResource]] {
        try await fixture.plane.operators.publisher.view().discoveryResources()
    }

    private static let policy = """
        apiVersion: networking.istio.io/v1
        kind: DestinationRule
        metadata: {name: api, namespace: shop}
        spec:
          host: api
          trafficPolicy:
            connectionPool: {tcp: {maxConnections: 100, connectTimeout: 2s}}
            loadBalancer: {localityLbSetting: {enabled: true}}
            outlierDetection: {consecutiveLocalOriginFailures: 3}
        """

    private static func limits(_ figures: String) -> String {
        """
        apiVersion: nodemesh.io/v1
        kind: ConnectionLimits
        metadata: {name: api, namespace: shop}
        spec:
          selector: {matchLabels: {app: api}}
          workload: {\(figures)}
        """
    }

    @Test func whatIsDeclaredReachesTheProxyOfANode() async throws {
        let fixture = try await Fixture()
        let node = try await fixture.joined("n1")
        try await self.register(
            "n1", "eu/eu-1a",
            [registration("web", address: "10.0.0.1"), registration("api", address: "10.0.0.2")], in: fixture, as: node)
        let operators = fixture.plane.operators
        _ = try await operators.apply(
            [.service("api"), .service("web"), Self.policy, Self.limits("maxConnections: 10, bytesPerSecond: 1Mi")]
                .joined(separator: "\n---\n"), dryRun: false)

        let receiver = Receiver()
        _ = try receiver.update(to: try await self.resources(fixture))
        let mesh = try receiver.snapshot()
        let service = try #require(mesh.service(self.api))
        #expect(service.loadBalancing == LoadBalancing(preference: [.region, .zone, .subzone], mode: .failover))
        #expect(
            service.policy
                == DestinationPolicy(
                    maxConnections: 100, connectTimeout: .seconds(2),
                    outlierDetection: OutlierDetection(consecutiveFailures: 3)))
        let web = try #require(mesh.service(NamespacedName(namespace: "shop", name: "web")))
        #expect(web.policy == nil && web.loadBalancing == LoadBalancing())
        let workload = try #require(mesh.workload(self.api))
        #expect(workload.limits == WorkloadLimits(maxConnections: 10, bytesPerSecond: 1 << 20))
        #expect(workload.locality == Locality(region: "eu", zone: "eu-1a"))
        #expect(mesh.localLocality == workload.locality)
        #expect(mesh.workload(WorkloadID(namespace: "shop", name: "web"))?.limits == nil)

        // Each change is sent to whom it is about, and nothing else is.
        #expect(try receiver.update(to: try await self.resources(fixture)) == [])
        _ = try await operators.apply(Self.limits("maxConnections: 11"), dryRun: false)
        #expect(try receiver.update(to: try await self.resources(fixture)) == ["nodemesh/Workload/shop/api"])
        #expect(try receiver.snapshot().workload(self.api)?.limits == WorkloadLimits(maxConnections: 11))
        try await operators.delete(.init(kind: .destinationRule, namespace: "shop", name: "api"))
        #expect(try receiver.update(to: try await self.resources(fixture)) == ["shop/api.shop.mesh.internal"])
        #expect(try receiver.snapshot().service(self.api)?.policy == nil)
        try await operators.delete(.init(kind: .connectionLimits, namespace: "shop", name: "api"))
        #expect(try receiver.update(to: try await self.resources(fixture)) == ["nodemesh/Workload/shop/api"])
    }

    @Test func aNodeThatMovesTakesItsWorkloadsAlong() async throws {
        let fixture = try await Fixture()
        let (n1, n2) = (try await fixture.joined("n1"), try await fixture.joined("n2"))
        var web = registration("web", address: "10.0.0.1")
        web.weight = 7
        try await self.register("n1", "eu", [web], in: fixture, as: n1)
        try await self.register("n2", "us", [registration("api", address: "10.0.0.2")], in: fixture, as: n2)
        // One that nobody registers is where its node is, unless it says where.
        _ = try await fixture.plane.operators.apply(
            """
            {apiVersion: nodemesh.io/v1, kind: Workload, metadata: {name: vm, namespace: shop},
             spec: {addresses: [192.0.2.7], node: n1}}
            ---
            {apiVersion: nodemesh.io/v1, kind: Workload, metadata: {name: far, namespace: shop},
             spec: {addresses: [192.0.2.8], locality: ap/ap-2}}
            """, dryRun: false)
        let receiver = Receiver()
        _ = try receiver.update(to: try await self.resources(fixture))
        func places() throws -> [String: String] {
            try receiver.snapshot().workloads.reduce(into: [:]) { $0[$1.id.name] = $1.locality.description }
        }
        #expect(try receiver.snapshot().workload(WorkloadID(namespace: "shop", name: "web"))?.capacity == 7)
        #expect(try receiver.snapshot().workload(self.api)?.capacity == 1)
        #expect(try places() == ["web": "eu", "api": "us", "vm": "eu", "far": "ap/ap-2"])
        try await self.register("n1", "eu/eu-1b", [web], in: fixture, as: n1)
        #expect(
            try receiver.update(to: try await self.resources(fixture)) == [
                "nodemesh/Workload/shop/vm", "nodemesh/Workload/shop/web",
            ])
        #expect(try places()["vm"] == "eu/eu-1b")
        let nodes = try await fixture.plane.operators.nodes()
        #expect(nodes.map(\.locality) == ["eu/eu-1b", "us"])
        let error = await #expect(throws: RPCError.self) {
            try await self.register("n1", "eu//1", [web], in: fixture, as: n1)
        }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains("region/zone/subzone") == true)
    }

    @Test func operatorsSeeWhatIsInForce() async throws {
        let fixture = try await Fixture()
        let node = try await fixture.joined("n1")
        try await self.register("n1", "eu", [registration("api", address: "10.0.0.2")], in: fixture, as: node)
        let operators = fixture.plane.operators
        _ = try await operators.apply(
            [.service("api"), Self.policy, Self.limits("bytesPerSecond: 1k")].joined(separator: "\n---\n"),
            dryRun: false)
        #expect(
            try await operators.services().first?.traffic == [
                "prefer": "region/zone/subzone", "maxConnections": "100", "connectTimeout": "2s", "ejectAfter": "3",
                "ejectFor": "30s..300s", "ejectAtMost": "10%",
            ])
        #expect(try await operators.workloads().first?.limits == ["bytesPerSecond": "1000"])
        #expect(try await operators.workloads().first?.locality == "eu")
    }

    // MARK: - Conflicts

    private static func rule(_ name: String, _ host: String, in namespace: String = "shop") -> String {
        """
        {apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: \(name), namespace: \(namespace)},
         spec: {host: "\(host)"}}
        """
    }

    @Test(arguments: [
        (Self.rule("a", "api.ops"), "namespace ops"), (Self.rule("a", "*.ops.mesh.internal"), "namespace ops"),
        (Self.rule("a", "*"), "every namespace"), (Self.rule("a", "held.shop.svc"), "DestinationRule shop/held"),
        (Self.rule("a", "x") + "\n---\n" + Self.rule("b", "x.shop.mesh.internal"), "DestinationRule shop/a"),
    ])
    func rulesThatContradict(_ text: String, _ reason: String) async throws {
        let fixture = try await Fixture()
        _ = try await fixture.plane.operators.apply(Self.rule("held", "held"), dryRun: false)
        let error = await #expect(throws: APIError.self) {
            try await fixture.plane.operators.apply(text, dryRun: false)
        }
        let problem = error?.response.problems.first
        #expect(problem?.path == "spec.host")
        #expect(problem?.reason.contains(reason) == true, "\(problem?.reason ?? "")")
        #expect(
            try await fixture.plane.operators.resources(kind: .destinationRule, namespace: nil, name: nil).count == 1)
    }

    @Test func rulesThatGoTogether() async throws {
        let fixture = try await Fixture()
        let root = ControlPlane.rootNamespace
        let text = [
            Self.rule("a", "api"), Self.rule("all", "*.shop.mesh.internal"), Self.rule("a", "api.shop", in: root),
            Self.rule("all", "*", in: root), Self.rule("a", "api", in: "ops"),
        ].joined(separator: "\n---\n")
        _ = try await fixture.plane.operators.apply(text, dryRun: false)
        // The same again, and with another host.
        _ = try await fixture.plane.operators.apply(text, dryRun: false)
        _ = try await fixture.plane.operators.apply(Self.rule("a", "web"), dryRun: false)
    }
}

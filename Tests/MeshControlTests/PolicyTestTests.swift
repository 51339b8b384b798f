// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRPCCore
import HTTPTypes
import MeshAPI
import MeshAdminAPI
import MeshConfiguration
import MeshModel
import MeshStore
import Testing

@testable import MeshControl

@Suite struct PolicyTestTests {
    private static let denyWeb = """
        apiVersion: security.istio.io/v1
        kind: AuthorizationPolicy
        metadata: {name: deny-web, namespace: shop}
        spec:
          action: DENY
          rules: [{from: [{source: {principals: ["mesh.internal/ns/shop/sa/web"]}}], to: [{operation: {ports: ["8080"]}}]}]
        """

    private static let strict = """
        apiVersion: security.istio.io/v1
        kind: PeerAuthentication
        metadata: {name: default, namespace: shop}
        spec: {mtls: {mode: STRICT}}
        """

    /// Two nodes; n1 runs api at 10.0.0.2 and n2 runs web at 10.0.0.1.
    private func fixture() async throws -> Fixture {
        let fixture = try await Fixture { $0.meshPrefixes = [IPPrefix(IPAddress(ipv4: 0x0a00_0000))] }
        for (node, workload, address) in [("n1", "api", "10.0.0.2"), ("n2", "web", "10.0.0.1")] {
            let record = try await fixture.joined(node)
            _ = try await fixture.plane.nodes.sync(
                sync([registration(workload, address: address, account: workload)]),
                of: AuthenticatedNode(name: node, joinID: record.joinID, notAfter: .distantFuture))
        }
        return fixture
    }

    private func report(
        _ fixture: Fixture, identity: String? = "web", port: UInt32 = 8080, count: UInt64 = 1, denied: Bool = false,
        sequence: UInt64, age: UInt32 = 10, dropped: UInt64 = 0, node: String = "n1",
        change: (inout Nodemesh_V1_RecentConnections) -> Void = { _ in }
    ) throws {
        var connection = Nodemesh_V1_RecentConnections()
        if let identity {
            connection.sourceIdentity = "spiffe://mesh.internal/ns/shop/sa/\(identity)"
            (connection.sourceNamespace, connection.sourceName) = ("shop", identity)
        }
        connection.sourceAddress = Data([10, 0, 0, 1])
        (connection.destinationNamespace, connection.destinationName) = ("shop", "api")
        connection.destinationAddress = Data([10, 0, 0, 2])
        connection.port = port
        connection.denied = denied
        connection.count = count
        (connection.firstAgeSeconds, connection.lastAgeSeconds) = (age + 5, age)
        change(&connection)
        var request = Nodemesh_V1_ReportConnectionsRequest()
        (request.run, request.sequence, request.dropped) = (1, sequence, dropped)
        request.connections = [connection]
        _ = try fixture.plane.nodes.report(
            request, of: AuthenticatedNode(name: node, joinID: "", notAfter: .distantFuture), now: Date())
    }

    private func test(
        _ fixture: Fixture, _ text: String, replace: Bool = false, since: Int? = nil,
        against connections: [RecordedConnection]? = nil
    ) async throws -> PolicyTestResult {
        try await fixture.plane.operators.testPolicies(
            .init(resources: text, replace: replace, sinceSeconds: since, connections: connections))
    }

    @Test func aDenialIsFoundWithItsClause() async throws {
        let fixture = try await self.fixture()
        try self.report(fixture, count: 3, sequence: 1)
        try self.report(fixture, count: 3, sequence: 1)
        try self.report(fixture, count: 4, sequence: 2, dropped: 2)
        try self.report(fixture, port: 9090, count: 5, sequence: 3)
        try self.report(fixture, identity: nil, count: 6, sequence: 4)
        let result = try await self.test(fixture, Self.denyWeb)
        #expect(result.changed == 7)
        #expect(result.unchanged == 11)
        #expect(result.dropped == 2)
        #expect(result.nodes == ["n1"])
        #expect(result.silentNodes == ["n2"])
        let change = try #require(result.changes.first)
        #expect(result.changes.count == 1)
        #expect(change.becomes == "denied")
        #expect(change.source == "shop/web")
        #expect(change.workload == "shop/api" && change.port == 8080)
        #expect(change.connections == 7)
        #expect(change.policy == "shop/deny-web" && change.rule == 0)
        #expect(change.clause.contains("from principals [mesh.internal/ns/shop/sa/web] holds"))
        #expect(change.clause.contains("to ports [8080] holds for 8080"))
        #expect(change.sourceAddresses == ["10.0.0.1"])
        // Nothing was stored.
        #expect(try await fixture.plane.operators.status().policies == 0)
    }

    @Test func strictRefusesThePlaintextThatCame() async throws {
        let fixture = try await self.fixture()
        try self.report(fixture, sequence: 1)
        try self.report(fixture, identity: nil, count: 6, sequence: 2)
        let result = try await self.test(fixture, Self.strict)
        #expect(result.changed == 6 && result.unchanged == 1)
        #expect(result.changes.first?.sourceIdentity == nil)
        #expect(result.changes.first?.policy == "nodemesh-system/istio_converted_static_strict")
    }

    @Test func withReplaceTheOthersAreGone() async throws {
        let fixture = try await self.fixture()
        _ = try await fixture.plane.operators.apply(Self.denyWeb, dryRun: false)
        try self.report(fixture, count: 2, denied: true, sequence: 1)
        // Beside it a policy for another workload changes nothing; alone it lets the connection pass.
        let other = Self.denyWeb.replacing("deny-web", with: "other").replacing("sa/web", with: "sa/other")
        #expect(try await self.test(fixture, other).changed == 0)
        let alone = try await self.test(fixture, other, replace: true)
        #expect(alone.changed == 2)
        #expect(alone.changes.first?.becomes == "allowed")
        #expect(alone.changes.first?.present == "policy shop/deny-web denies it")
        // One of the same name takes its place.
        let milder = Self.denyWeb.replacing("8080", with: "1")
        #expect(try await self.test(fixture, milder).changes.first?.becomes == "allowed")
        // For a dry run it changes nothing when it is applied, but it no longer denies.
        let dry = Self.denyWeb.replacing(
            "namespace: shop}", with: "namespace: shop, annotations: {istio.io/dry-run: \"true\"}}")
        let dryResult = try await self.test(fixture, dry)
        #expect(dryResult.changes.first?.becomes == "allowed")
        #expect(dryResult.notes.contains { $0.contains("dry run") })
    }

    @Test func onlyItsOwnNodeIsBelievedAboutAWorkload() async throws {
        let fixture = try await self.fixture()
        try self.report(fixture, count: 5, sequence: 1, node: "n2")
        try self.report(fixture, count: 2, sequence: 1) { $0.destinationName = "vanished" }
        let result = try await self.test(fixture, Self.denyWeb)
        #expect(result.changed == 0 && result.unchanged == 0)
        #expect(result.gone == 7)
    }

    @Test func olderOnesAreLeftOut() async throws {
        let fixture = try await self.fixture()
        try self.report(fixture, count: 5, sequence: 1, age: 1500)
        try self.report(fixture, count: 2, sequence: 2, age: 3700)
        #expect(try await self.test(fixture, Self.denyWeb).changed == 5)
        #expect(try await self.test(fixture, Self.denyWeb, since: 600).changed == 0)
    }

    @Test func aLogCanTakeThePlaceOfReports() async throws {
        let fixture = try await self.fixture()
        try self.report(fixture, count: 5, sequence: 1)
        var recorded = RecordedConnection(
            source: nil, sourceIdentity: "spiffe://mesh.internal/ns/shop/sa/web", sourceAddress: "10.0.0.1",
            workload: "shop/api", destination: "10.0.0.2:8080", isDenied: false, count: 9, firstSeen: .now,
            lastSeen: .now)
        let result = try await self.test(fixture, Self.denyWeb, against: [recorded])
        #expect(result.changed == 9)
        #expect(result.nodes == nil)
        recorded.sourceIdentity = "nobody"
        await #expect(throws: APIError.self) { try await self.test(fixture, Self.denyWeb, against: [recorded]) }
    }

    @Test func whatCannotBeTestedIsRefused() async throws {
        let fixture = try await self.fixture()
        for (text, since, status) in [
            (String.service("api"), nil, 422), ("kind: Nothing", nil, 422), (Self.denyWeb, 3601, 400),
            (Self.denyWeb, 0, 400),
        ] as [(String, Int?, Int)] {
            do {
                _ = try await self.test(fixture, text, since: since)
                Issue.record("tested \(text)")
            } catch let error as APIError {
                #expect(error.status.code == status)
            }
        }
    }

    @Test func aReportThatIsNotOneIsRefusedWhole() async throws {
        let fixture = try await self.fixture()
        let faults: [(inout Nodemesh_V1_RecentConnections) -> Void] = [
            { $0.sourceAddress = Data([1]) }, { $0.destinationAddress = Data() }, { $0.port = 70_000 },
            { $0.sourceIdentity = "x" }, { $0.destinationName = "" }, { $0.sourceName = "a/b" },
        ]
        for fault in faults {
            #expect(throws: RPCError.self) { try self.report(fixture, sequence: 1, change: fault) }
        }
        #expect(fixture.plane.recent.count == 0)
    }

    @Test func roomIsBoundedAndWhatIsLeftOutIsCounted() {
        let recent = RecentConnections(limit: 2, startedAt: 0)
        func connection(_ port: UInt16) -> DecidedConnection {
            DecidedConnection(
                source: nil, sourceIdentity: nil, sourceIP: IPAddress(ipv4: 1),
                workload: WorkloadID(namespace: "shop", name: "api"),
                destination: SocketAddress(ip: IPAddress(ipv4: 2), port: port), isDenied: false)
        }
        for port in UInt16(1)...3 {
            recent.add(
                [connection(port): .init(count: 5, first: 10_000, last: 10_000)], dropped: 0, from: "n", run: 1,
                sequence: UInt64(port), now: 10_000)
        }
        #expect(recent.count == 2)
        #expect(recent.recent(since: 9000, now: 10_000).dropped == 5)
        // An hour later there is room again.
        recent.add(
            [connection(3): .init(count: 5, first: 20_000, last: 20_000)], dropped: 0, from: "n", run: 2, sequence: 1,
            now: 20_000)
        #expect(recent.count == 1)
        #expect(recent.recent(since: 19_000, now: 20_000).dropped == 0)
        #expect(recent.dropped == 5)
        recent.forget("n")
        #expect(recent.count == 0)
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshModel
import MeshResources
import MeshStore
import Testing

@Suite struct RegistrationTests {
    let files: TemporaryStore

    init() throws { self.files = try TemporaryStore() }

    private func register(
        _ workloads: [WorkloadRecord], on node: NodeRecord, in store: Store, dead: Set<String> = [],
        locality: String = ""
    ) async throws -> RegistrationResult {
        try await store.register(
            NodeRegistration(
                node: node.name, joinID: node.joinID, addresses: [IPAddress(ipv4: 0x0a00_0001)], tunnelPort: 15008,
                generation: 1, locality: try #require(Locality(locality)), workloads: workloads), now: start,
            isAlive: { !dead.contains($0) })
    }

    @Test func aRegistrationReplacesTheLast() async throws {
        let store = try self.files.open()
        let node = try await store.joined("n1")
        let (a, b) = (
            try workload("a", node: "n1", address: "10.0.0.1"), try workload("b", node: "n1", address: "10.0.0.2")
        )
        #expect(try await self.register([a, b], on: node, in: store).changed)
        #expect(try await self.register([b, a], on: node, in: store).changed == false)
        #expect(try await self.register([b], on: node, in: store).changed)
        #expect(try await store.workloads() == [b])
        let heavy = try workload("b", node: "n1", address: "10.0.0.2", weight: 9)
        #expect(try await self.register([heavy], on: node, in: store).changed)
        #expect(try await store.workloads() == [heavy])
    }

    @Test func aMoveIsAChange() async throws {
        let store = try self.files.open()
        let node = try await store.joined("n1")
        #expect(try await self.register([], on: node, in: store, locality: "eu/eu-1a").changed)
        #expect(try await self.register([], on: node, in: store, locality: "eu/eu-1a").changed == false)
        #expect(try await store.node("n1")?.locality == Locality(region: "eu", zone: "eu-1a"))
        #expect(try await self.register([], on: node, in: store).changed)
        #expect(try await store.node("n1")?.locality == Locality())
    }

    @Test func aNameBelongsToOneLivingNode() async throws {
        let store = try self.files.open()
        let (n1, n2) = (try await store.joined("n1"), try await store.joined("n2"))
        _ = try await self.register([try workload("a", node: "n1", address: "10.0.0.1")], on: n1, in: store)
        let claims = [
            try workload("a", node: "n2", address: "10.0.0.2"), try workload("b", node: "n2", address: "10.0.0.3"),
        ]
        let refused = try await self.register(claims, on: n2, in: store)
        #expect(refused.refusals.map(\.id.name) == ["a"])
        #expect(refused.refusals.first?.reason.contains("n1") == true)
        #expect(try await store.workloads(node: "n2").map(\.id.name) == ["b"])
        let taken = try await self.register(claims, on: n2, in: store, dead: ["n1"])
        #expect(taken.refusals.isEmpty)
        #expect(try await store.workloads(node: "n1").isEmpty)
        #expect(try await store.workloads(node: "n2").count == 2)
        #expect(try await store.node("n1")?.generation == .max)
    }

    @Test func anAddressBelongsToOneWorkload() async throws {
        let store = try self.files.open()
        let (n1, n2) = (try await store.joined("n1"), try await store.joined("n2"))
        _ = try await self.register([try workload("a", node: "n1", address: "10.0.0.1")], on: n1, in: store)
        let claim = [try workload("b", node: "n2", address: "10.0.0.1")]
        let refused = try await self.register(claim, on: n2, in: store)
        #expect(refused.refusals.first?.reason.contains("10.0.0.1") == true)
        #expect(try await self.register(claim, on: n2, in: store, dead: ["n1"]).refusals.isEmpty)
        #expect(try await store.workloads().map(\.id.name) == ["b"])
    }

    @Test func hostNetworkWorkloadsShareAnAddress() async throws {
        let store = try self.files.open()
        let node = try await store.joined("n1")
        var workloads = try ["a", "b"].map { try workload($0, node: "n1", address: "10.0.0.1", host: true) }
        workloads[0].ports = [80, 8443]
        let result = try await self.register(workloads, on: node, in: store)
        #expect(result.refusals.isEmpty)
        #expect(try await store.workloads(node: "n1").map(\.ports) == [[80, 8443], []])
    }

    @Test func aWorkloadResourceKeepsItsName() async throws {
        let store = try self.files.open()
        let node = try await store.joined("n1")
        _ = try await store.apply([
            ResourceChange(key: ResourceKey(kind: .workload, namespace: "shop", name: "a"), json: "{}")
        ])
        let result = try await self.register([try workload("a", node: "n1", address: "10.0.0.1")], on: node, in: store)
        #expect(result.refusals.count == 1)
    }

    @Test func aDeletedNodeCannotRegister() async throws {
        let store = try self.files.open()
        let node = try await store.joined("n1")
        _ = try await self.register([try workload("a", node: "n1", address: "10.0.0.1")], on: node, in: store)
        try await store.deleteNode("n1")
        #expect(try await store.workloads().isEmpty)
        await #expect(throws: StoreError.self) { try await self.register([], on: node, in: store) }
        _ = try await store.joined("n1")
        await #expect(throws: StoreError.self) { try await self.register([], on: node, in: store) }
    }

    @Test func tellsWhichServiceAccountsANodeRuns() async throws {
        let store = try self.files.open()
        let (n1, _) = (try await store.joined("n1"), try await store.joined("n2"))
        let web = try workload("a", node: "n1", address: "10.0.0.1", account: "web")
        _ = try await self.register([web], on: n1, in: store)
        #expect(try await store.runs(node: "n1", account: NamespacedName(namespace: "shop", name: "web")))
        #expect(try await store.runs(node: "n1", account: NamespacedName(namespace: "shop", name: "db")) == false)
        #expect(try await store.runs(node: "n2", account: NamespacedName(namespace: "shop", name: "web")) == false)
        #expect(try await store.runs(node: "n1", account: NamespacedName(namespace: "other", name: "web")) == false)
    }

    @Test func aCertificateNeedsAWorkloadOnItsNode() async throws {
        let store = try self.files.open()
        let node = try await store.joined("n1")
        let account = NamespacedName(namespace: "shop", name: "web")
        let error = await #expect(throws: StoreError.self) {
            try await store.logCertificate(
                certificate("c1", node: "n1"), joinID: node.joinID, account: account, now: start)
        }
        #expect(error?.code == .conflict)
        _ = try await self.register([try workload("a", node: "n1", address: "10.0.0.1")], on: node, in: store)
        try await store.logCertificate(certificate("c2", node: "n1"), joinID: node.joinID, account: account, now: start)
        #expect(try await store.certificates().contains { $0.serial == "c2" })
        #expect(try await store.certificates().contains { $0.serial == "c1" } == false)
    }
}

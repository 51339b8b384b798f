// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import MeshAdminAPI
import MeshIdentity
import MeshModel
import MeshStore
import Testing

@testable import MeshControl

/// One root in place of another, and a store from a backup.
@Suite struct AuthorityTests {
    private func heartbeat(
        _ fixture: Fixture, _ node: NodeRecord, trusts: [CertificateFingerprint],
        uses: [CertificateFingerprint]
    ) async throws {
        try await fixture.plane.store.setRoots(
            of: node.name, trusted: trusts.map(\.description), issuing: uses.map(\.description))
    }

    private func fingerprints(_ fixture: Fixture) throws -> [CertificateFingerprint] {
        try fixture.plane.authorities.authorities.all.map { try $0.fingerprint() }
    }

    @Test func aRotationWaitsForEveryNodeAtBothOfItsSteps() async throws {
        let fixture = try await Fixture()
        let keeper = fixture.plane.authorities
        let node = try await fixture.joined("n1")
        let first = try #require(try self.fingerprints(fixture).first)
        #expect(keeper.phase == .steady)
        await #expect(throws: StoreError.self) { try await keeper.activate(force: true) }
        await #expect(throws: StoreError.self) { try await keeper.retire(force: true) }

        try await keeper.rotate(now: Date())
        #expect(keeper.phase == .adding)
        let all = try self.fingerprints(fixture)
        #expect(all.count == 2 && all[0] == first)
        await #expect(throws: StoreError.self) { try await keeper.rotate(now: Date()) }
        // What nodes are told: both roots, and which of them signs.
        let settings = try await fixture.plane.operators.publisher.view().settings
        #expect(try TrustBundle(pem: settings.trustBundle).fingerprints == Set(all))
        #expect(settings.issuingRoot == first.description)
        #expect(try await keeper.waiting().map(\.node) == ["n1"])
        #expect(try await !keeper.advance())
        let refusal = await #expect(throws: StoreError.self) { try await keeper.activate(force: false) }
        #expect(refusal?.message.contains("n1") == true && refusal?.message.contains("--force") == true)
        try await self.heartbeat(fixture, node, trusts: [first], uses: [first])
        #expect(try await keeper.waiting().count == 1)
        try await self.heartbeat(fixture, node, trusts: all, uses: [first])
        #expect(try await keeper.waiting().isEmpty)
        try await keeper.activate(force: false)

        #expect(keeper.phase == .switched)
        #expect(try self.fingerprints(fixture) == [all[1], all[0]])
        let switched = try await fixture.plane.operators.publisher.view().settings
        #expect(switched.issuingRoot == all[1].description)
        #expect(try TrustBundle(pem: switched.trustBundle).fingerprints == Set(all))
        await #expect(throws: StoreError.self) { try await keeper.rotate(now: Date()) }
        await #expect(throws: StoreError.self) { try await keeper.retire(force: false) }
        try await self.heartbeat(fixture, node, trusts: all, uses: [first, all[1]])
        await #expect(throws: StoreError.self) { try await keeper.retire(force: false) }
        try await self.heartbeat(fixture, node, trusts: all, uses: [all[1]])
        try await keeper.retire(force: false)
        #expect(keeper.phase == .steady)
        #expect(try self.fingerprints(fixture) == [all[1]])
        let last = try await fixture.plane.operators.publisher.view().settings
        #expect(try TrustBundle(pem: last.trustBundle).fingerprints == [all[1]])
    }

    @Test func whatIsSignedLeadsToTheRootThatSigns() async throws {
        let fixture = try await Fixture()
        let old = try await fixture.joined("n1")
        try await fixture.plane.authorities.rotate(now: Date())
        try await fixture.plane.authorities.activate(force: true)
        _ = try await fixture.joined("n2")
        #expect(old.name == "n1")
        let present = try TrustBundle(pem: [fixture.plane.operators.trustBundle()])
        #expect(present.roots.count == 2)
        try await fixture.plane.authorities.retire(force: true)
        #expect(try TrustBundle(pem: [fixture.plane.operators.trustBundle()]).roots.count == 1)
    }

    @Test func aRotationCanBeTakenBackBeforeItsSecondStep() async throws {
        let fixture = try await Fixture()
        let first = try self.fingerprints(fixture)
        await #expect(throws: StoreError.self) { try await fixture.plane.authorities.cancel() }
        try await fixture.plane.authorities.rotate(now: Date())
        try await fixture.plane.authorities.cancel()
        #expect(try self.fingerprints(fixture) == first)
        let names = try FileManager.default.contentsOfDirectory(atPath: fixture.directory.path)
        #expect(names.filter { $0.hasPrefix("ca") }.sorted() == ["ca.crt", "ca.pem"])
    }

    @Test func everyStepOutlivesARestart() async throws {
        let directory = try TemporaryDirectory()
        var expected: [CertificateFingerprint] = []
        func restarted(_ body: (AuthorityKeeper) async throws -> Void) async throws {
            let fixture = try await Fixture(directory)
            if !expected.isEmpty { #expect(try self.fingerprints(fixture) == expected) }
            try await body(fixture.plane.authorities)
            expected = try self.fingerprints(fixture)
            let crt = try String(contentsOfFile: directory.path + "/ca.crt", encoding: .utf8)
            #expect(try TrustBundle(pem: [crt]).fingerprints == Set(expected))
            try fixture.plane.store.close()
        }
        try await restarted { _ in }
        try await restarted { try await $0.rotate(now: Date()) }
        try await restarted { try await $0.activate(force: true) }
        try await restarted { try await $0.retire(force: true) }
        try await restarted { #expect($0.phase == .steady) }
        for name in try FileManager.default.contentsOfDirectory(atPath: directory.path)
        where name.hasPrefix("ca") && name.hasSuffix(".pem") {
            let attributes = try FileManager.default.attributesOfItem(atPath: directory.path + "/" + name)
            #expect(attributes[.posixPermissions] as? Int == 0o600, "\(name)")
        }
    }

    @Test func aStoreThatIsOlderThanWhatNodesHaveSeenIsToldAndAccepted() async throws {
        let fixture = try await Fixture()
        let (store, operators) = (fixture.plane.store, fixture.plane.operators)
        _ = try await fixture.joined("n1")
        #expect(try await operators.status().problem == nil)
        await #expect(throws: APIError.self) { try await operators.acceptRestore() }
        let present = try await store.presentRevision()
        operators.restored.heard(UInt64(present), from: "n1", present: present)
        #expect(try await operators.status().problem == nil)
        operators.restored.heard(UInt64(present) + 40, from: "n1", present: present)
        #expect(try await operators.status().problem?.contains("accept-restore") == true)
        try await operators.acceptRestore()
        #expect(try await store.presentRevision() == present + 41)
        #expect(try await operators.status().problem == nil)
        // A number beyond all bounds is a node's lie: nobody is alarmed, and nothing overflows.
        operators.restored.heard(.max, from: "n1", present: present + 41)
        #expect(try await operators.status().problem == nil)
    }
}

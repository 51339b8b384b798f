// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshAPI
import MeshDiscovery
import MeshIdentity
import MeshModel
import SwiftProtobuf
import Testing

@testable import MeshAgent

/// The node's view on disk: what comes back, and what is refused.
struct ViewStoreTests {
    private let directory = TemporaryDirectory()
    private let now = Date(timeIntervalSince1970: 1_800_000_000)
    private let logger = Logger(label: "test")

    private func discovery(bundle: [String] = ["root"], nodes: [String] = ["n1", "n2"]) throws -> DeltaClient {
        var client = DeltaClient(node: "n1", trustDomain: "mesh.internal")
        _ = client.connected()
        let settings = MeshSettings(
            trustDomain: "mesh.internal", prefixes: [], trustBundle: bundle, rootNamespace: "nodemesh-system")
        let resources: [ResourceType: [MeshResource]] = [
            .mesh: [.settings(settings)], .node: nodes.map { .node(Node(name: $0, addresses: [], tunnelPort: 15008)) },
            .authorization: [], .address: [],
        ]
        for type in ResourceType.allCases {
            _ = try client.received(
                .with { response in
                    response.typeURL = type.typeURL
                    response.nonce = "1"
                    response.systemVersionInfo = "@7 1"
                    response.resources = try (resources[type] ?? []).map { resource in
                        let encoded = try resource.encoded()
                        return .with {
                            $0.name = encoded.name
                            $0.version = encoded.version
                            $0.resource.typeURL = type.typeURL
                            $0.resource.value = encoded.payload
                        }
                    }
                })
        }
        return client
    }

    private func snapshot(
        _ sequence: UInt64, node: String = "n1", of discovery: DeltaClient? = nil
    ) throws -> ViewSnapshot {
        ViewSnapshot(
            header: .init(
                node: node, trustDomain: "mesh.internal", sequence: sequence, revision: 7, savedAt: self.now,
                confirmedAt: self.now),
            responses: try (discovery ?? self.discovery()).kept())
    }

    private func path(_ name: String) -> String { "\(self.directory.path)/\(name)" }

    private func load(node: String = "n1", trustDomain: String = "mesh.internal") throws -> ViewStore.Found {
        try ViewStore(directory: self.directory.path).load(node: node, trustDomain: trustDomain)
    }

    @Test func `what was written comes back, resumable, in files of the owner alone`() throws {
        #expect(try self.load().snapshot == nil)
        try ViewStore(directory: self.directory.path).save(self.snapshot(3))
        let found = try self.load()
        #expect(found.refusal == nil)
        #expect(found.sequence == 3)
        #expect(found.revision == 7)
        var client = DeltaClient(node: "n1", trustDomain: "mesh.internal")
        let refused = try client.restore(try #require(found.snapshot).responses, revision: found.revision)
        #expect(refused.isEmpty)
        #expect(client.isConsistent)
        let original = try self.discovery()
        #expect(Set(client.state.nodes) == Set(original.state.nodes))
        #expect(client.state.settings == original.state.settings)
        var resumed = original
        #expect(client.connected() == resumed.connected())
        for name in ["/view.snapshot", "/view.mark", "/state.key"] { #expect(try self.directory.mode(name) == 0o600) }
        #expect(try self.directory.mode() == 0o700)
    }

    @Test func `no changed byte and no cut is believed`() throws {
        try ViewStore(directory: self.directory.path).save(self.snapshot(1))
        let bytes = try Data(contentsOf: URL(filePath: self.path("view.snapshot")))
        func write(_ data: Data) throws {
            try data.write(to: URL(filePath: self.path("view.snapshot")))
            try FileManager.default.setAttributes(
                [.posixPermissions: 0o600], ofItemAtPath: self.path("view.snapshot"))
        }
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 0x41
            try write(changed)
            let found = try self.load()
            #expect(found.snapshot == nil && found.refusal != nil, "byte \(index)")
        }
        for count in [0, 1, 8, 31, 40, bytes.count / 2, bytes.count - 1] {
            try write(bytes.prefix(count))
            #expect(try self.load().refusal?.reason.code == .damaged, "\(count) bytes")
        }
        try write(bytes + [0])
        #expect(try self.load().refusal?.reason.code == .damaged)
        var newer = bytes
        newer[ViewSnapshot.magic.count] = ViewSnapshot.format + 1
        try write(newer)
        #expect(try self.load().refusal?.reason.code == .format)
        try write(bytes)
        #expect(try self.load().snapshot != nil)
    }

    @Test func `an older view that is put back is refused`() throws {
        let store = try ViewStore(directory: self.directory.path)
        try store.save(self.snapshot(1))
        let old = try Data(contentsOf: URL(filePath: self.path("view.snapshot")))
        try store.save(self.snapshot(2))
        try old.write(to: URL(filePath: self.path("view.snapshot")))
        let found = try self.load()
        #expect(found.refusal?.reason.code == .rolledBack)
        // What is written next is newer than all that was.
        #expect(found.sequence == 2)
        #expect(found.revision == 7)
        try FileManager.default.removeItem(atPath: self.path("view.mark"))
        #expect(try self.load().refusal?.reason.code == .rolledBack)
    }

    @Test func `a crash between view and mark costs nothing`() throws {
        let store = try ViewStore(directory: self.directory.path)
        try store.save(self.snapshot(1))
        let mark = try Data(contentsOf: URL(filePath: self.path("view.mark")))
        try store.save(self.snapshot(2))
        try mark.write(to: URL(filePath: self.path("view.mark")))
        #expect(try self.load().snapshot?.header.sequence == 2)
    }

    @Test func `another node's view, trust domain or key is foreign`() throws {
        try ViewStore(directory: self.directory.path).save(self.snapshot(1))
        #expect(try self.load(trustDomain: "other").refusal?.reason.code == .foreign)
        // A whole directory that was copied and renamed: the mark is the other node's already.
        #expect(try self.load(node: "n9").refusal?.reason.code == .foreign)
        let other = TemporaryDirectory()
        try ViewStore(directory: other.path).save(self.snapshot(1, node: "n9"))
        try FileManager.default.removeItem(atPath: self.path("view.snapshot"))
        try FileManager.default.copyItem(atPath: "\(other.path)/view.snapshot", toPath: self.path("view.snapshot"))
        let refusal = try #require(try self.load().refusal).reason
        #expect(refusal.code == .foreign && refusal.message.contains("n9"))
        // Without its key nothing that was written under it counts.
        try FileManager.default.removeItem(atPath: self.path("state.key"))
        #expect(try self.load().refusal?.reason.code == .damaged)
    }

    @Test func `a file that others may have written is refused`() throws {
        try ViewStore(directory: self.directory.path).save(self.snapshot(1))
        try FileManager.default.setAttributes(
            [.posixPermissions: 0o620], ofItemAtPath: self.path("view.snapshot"))
        #expect(try self.load().refusal?.reason.code == .exposed)
    }

    @Test func `the mark keeps the time of confirmation up`() throws {
        let store = try ViewStore(directory: self.directory.path)
        try store.save(self.snapshot(1))
        let later = self.now.addingTimeInterval(60)
        try store.save(ViewMark(node: "n1", sequence: 1, revision: 9, confirmedAt: later))
        let found = try self.load()
        #expect(found.snapshot?.header.confirmedAt == later)
        #expect(found.revision == 9)
    }

    @Test func `a view of another authority is refused, and its revision stays known`() async throws {
        let (ours, theirs) = (try TestAuthority(now: self.now), try TestAuthority(now: self.now))
        let credentials = try await ours.credentials(now: self.now)
        func restored(_ bundle: [String]) throws -> RestoredView {
            try ViewStore(directory: self.directory.path).save(
                self.snapshot(1, of: self.discovery(bundle: bundle)))
            return RestoredView(
                directory: self.directory.path, credentials: credentials, faults: StateFaults(logger: self.logger),
                logger: self.logger)
        }
        let good = try restored(theirs.bundle.pem + ours.bundle.pem)
        #expect(good.refusal == nil && good.discovery?.isConsistent == true && good.confirmedAt == self.now)
        let bad = try restored(theirs.bundle.pem)
        #expect(bad.refusal?.code == .foreign)
        #expect(bad.discovery?.isConsistent == false && bad.discovery?.revision == 7 && bad.confirmedAt == nil)
        // A directory that cannot be used is a fault to tell of, no reason not to start.
        let faults = StateFaults(logger: self.logger)
        try Data().write(to: URL(filePath: self.path("file")))
        let none = RestoredView(
            directory: self.path("file"), credentials: credentials, faults: faults, logger: self.logger)
        #expect(none.store == nil && none.discovery == nil && faults.present.count == 1)
    }

    @Test func `the keeper writes changes, marks and what comes last, and survives a disk that is full`() async throws {
        let clock = ManualClock(self.now)
        let freshness = ViewFreshness(clock: clock)
        let faults = StateFaults(logger: self.logger)
        let discovery = try self.discovery()
        let store = try ViewStore(directory: self.directory.path)
        let keeper = ViewKeeper(
            store: store, found: .init(), node: "n1", trustDomain: "mesh.internal", queue: StateQueue(),
            faults: faults, freshness: freshness, clock: clock, logger: self.logger, source: { discovery })
        // Nothing is known yet.
        #expect(await keeper.write())
        #expect(try self.load().snapshot == nil)
        #expect(!keeper.isCurrent)
        freshness.confirm()
        let running = Task { try await keeper.run() }
        keeper.changed()
        #expect(await clock.advance { (try? self.load().snapshot) != nil })
        #expect(await clock.advance(in: .seconds(1)) { (try? self.load().snapshot?.header.confirmedAt) != nil })
        #expect(await clock.advance { keeper.isCurrent })
        // The data directory goes away.
        let moved = TemporaryDirectory()
        try FileManager.default.moveItem(atPath: self.directory.path, toPath: moved.path)
        try Data().write(to: URL(filePath: self.directory.path))
        keeper.changed()
        #expect(!keeper.isCurrent)
        #expect(await clock.advance(in: .seconds(1)) { !faults.present.isEmpty })
        #expect(!keeper.isCurrent)
        try FileManager.default.removeItem(atPath: self.directory.path)
        try FileManager.default.moveItem(atPath: moved.path, toPath: self.directory.path)
        #expect(await clock.advance(in: .seconds(1)) { faults.present.isEmpty })
        #expect(keeper.isCurrent)
        running.cancel()
        try await running.value
        #expect(try self.load().snapshot != nil)
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshModel
import MeshResources
import MeshStore
import Testing

@Suite struct ResourceTests {
    let files: TemporaryStore

    init() throws { self.files = try TemporaryStore() }

    @Test func tellsWhatBecameOfEachResource() async throws {
        let store = try self.files.open()
        #expect(try await store.apply([service("a"), service("b")]) == [.created, .created])
        #expect(try await store.apply([service("a"), service("b", json: "{\"x\":1}")]) == [.unchanged, .configured])
        #expect(try await store.delete([key("a")]) == [.deleted])
        #expect(try await store.resources().map(\.key) == [key("b")])
    }

    @Test func onlyChangedResourcesGetANewVersion() async throws {
        let store = try self.files.open()
        _ = try await store.apply([service("a"), service("b")])
        let before = try await store.resources()
        _ = try await store.apply([service("a"), service("b", json: "[]")])
        let after = try await store.resources()
        #expect(before[0].version == after[0].version)
        #expect(before[1].version < after[1].version)
    }

    @Test func appliesAllOrNothing() async throws {
        let store = try self.files.open()
        let address = try #require(IPAddress("240.240.0.9"))
        _ = try await store.apply([service("holder", address: .fixed([address]))])
        let error = await #expect(throws: StoreError.self) {
            try await store.apply([service("a"), service("thief", address: .fixed([address]))])
        }
        #expect(error?.code == .conflict)
        #expect(error?.message.contains("shop/holder") == true)
        #expect(try await store.resources().map(\.key.name) == ["holder"])
        #expect(try await store.snapshot().revision == 1)
    }

    @Test func deletesAllOrNothing() async throws {
        let store = try self.files.open()
        _ = try await store.apply([service("a")])
        let error = await #expect(throws: StoreError.self) { try await store.delete([key("a"), key("absent")]) }
        #expect(error?.code == .notFound)
        #expect(try await store.resources().count == 1)
        let outcomes = try await store.delete([key("absent"), key("a")], ignoringAbsent: true)
        #expect(outcomes == [.unchanged, .deleted])
        #expect(try await store.resources().isEmpty)
    }

    @Test func aCheckSeesTheResultAndRefusesAllOfIt() async throws {
        let store = try self.files.open()
        let error = await #expect(throws: StoreError.self) {
            try await store.apply([service("a"), service("b")]) { snapshot in
                throw StoreError(.conflict, "\(snapshot.resources.count)")
            }
        }
        #expect(error?.message == "2")
        #expect(try await store.resources().isEmpty)
    }

    @Test func aDryRunChangesNothing() async throws {
        let store = try self.files.open()
        #expect(try await store.apply([service("a")], dryRun: true) == [.created])
        #expect(try await store.resources().isEmpty)
        _ = try await store.apply([service("a")])
        #expect(try await store.delete([key("a")], dryRun: true) == [.deleted])
        #expect(try await store.resources().count == 1)
    }

    @Test func concurrentAppliesAllTakeEffect() async throws {
        let store = try self.files.open()
        try await withThrowingTaskGroup { group in
            for writer in 0..<8 {
                group.addTask {
                    for round in 0..<10 { _ = try await store.apply([service("s\(writer)-\(round)")]) }
                }
            }
            try await group.waitForAll()
        }
        let all = try await store.resources()
        #expect(all.count == 80)
        #expect(Set(all.flatMap(\.addresses)).count == 80)
        #expect(Set(all.map(\.version)).count == 80)
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshModel
import Testing

@testable import MeshStore

/// What is over a limit is refused, and what is there stays.
@Suite struct LimitTests {
    let files: TemporaryStore
    let store: Store

    init() throws {
        self.files = try TemporaryStore()
        var limits = StoreLimits()
        (limits.resourcesPerKind, limits.joinTokens, limits.nodes) = (2, 2, 1)
        self.store = try Store(
            path: self.files.path, virtualPrefixes: [try #require(IPPrefix("240.240.0.0/16"))], limits: limits)
    }

    @Test func resourcesOfAKind() async throws {
        _ = try await self.store.apply([service("a"), service("b")])
        let error = await #expect(throws: StoreError.self) { try await self.store.apply([service("c")]) }
        #expect(error?.code == .full)
        #expect(try await self.store.resources().count == 2)
        // Those that are there can change and go.
        #expect(try await self.store.apply([service("a", json: "{\"x\":1}")]) == [.configured])
        _ = try await self.store.delete([key("a")])
        #expect(try await self.store.apply([service("c")]) == [.created])
    }

    @Test func joinTokensAndNodes() async throws {
        func add(_ id: String, at date: Date) async throws(StoreError) {
            try await self.store.addJoinToken(
                id: id, hash: [1], node: nil, createdAt: date, expiresAt: date.addingTimeInterval(60))
        }
        try await add("a", at: start)
        try await add("b", at: start)
        let error = await #expect(throws: StoreError.self) { try await add("c", at: start) }
        #expect(error?.code == .full)
        // Expired ones do not count.
        try await add("c", at: start.addingTimeInterval(61))
        try await add("d", at: start.addingTimeInterval(61))
        let later = start.addingTimeInterval(62)
        func join(_ token: String, _ node: String) async throws(StoreError) {
            try await self.store.join(
                JoinAttempt(tokenID: token, hash: [1], node: node), joinID: node,
                certificate: certificate(node, node: node), now: later)
        }
        try await join("c", "n1")
        let full = await #expect(throws: StoreError.self) { try await join("d", "n2") }
        #expect(full?.code == .full)
        #expect(try await self.store.nodes().map(\.name) == ["n1"])
    }
}

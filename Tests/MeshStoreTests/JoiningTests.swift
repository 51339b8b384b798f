// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshModel
import MeshStore
import Testing

@Suite struct JoiningTests {
    let files: TemporaryStore

    init() throws { self.files = try TemporaryStore() }

    private func attempt(_ node: String, hash: [UInt8] = [9, 9]) -> JoinAttempt {
        JoinAttempt(tokenID: "t", hash: hash, node: node)
    }

    private func add(_ store: Store, node: String? = nil) async throws {
        try await store.addJoinToken(
            id: "t", hash: [9, 9], node: node, createdAt: start, expiresAt: start.addingTimeInterval(60))
    }

    private func refusal(_ store: Store, _ attempt: JoinAttempt, now: Date = start) async -> String? {
        do throws(StoreError) {
            try await store.join(
                attempt, joinID: UUID().uuidString, certificate: certificate(UUID().uuidString, node: attempt.node),
                now: now)
            return nil
        } catch {
            return error.code == .tokenRefused ? error.message : "wrong code: \(error)"
        }
    }

    @Test func aTokenWorksOnce() async throws {
        let store = try self.files.open()
        try await self.add(store)
        #expect(await self.refusal(store, self.attempt("n1")) == nil)
        #expect(await self.refusal(store, self.attempt("n2"))?.contains("used by the node n1") == true)
        #expect(try await store.nodes().map(\.name) == ["n1"])
        #expect(try await store.joinTokens().first?.usedBy == "n1")
    }

    @Test func ofManyThatTryAtOnceOneWins() async throws {
        let store = try self.files.open()
        try await self.add(store)
        let winners = await withTaskGroup { group in
            for index in 0..<10 {
                group.addTask { await self.refusal(store, self.attempt("n\(index)")) == nil }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(winners == 1)
        #expect(try await store.nodes().count == 1)
    }

    @Test func aTokenExpires() async throws {
        let store = try self.files.open()
        try await self.add(store)
        let late = start.addingTimeInterval(60)
        #expect(await self.refusal(store, self.attempt("n1"), now: late)?.contains("expired") == true)
    }

    @Test func aTokenMayBeForOneNode() async throws {
        let store = try self.files.open()
        try await self.add(store, node: "n1")
        #expect(await self.refusal(store, self.attempt("n2"))?.contains("for the node n1") == true)
        #expect(await self.refusal(store, self.attempt("n1")) == nil)
    }

    @Test func aWrongSecretAndAnUnknownTokenLookTheSame() async throws {
        let store = try self.files.open()
        let unknown = await self.refusal(store, self.attempt("n1"))
        try await self.add(store)
        #expect(await self.refusal(store, self.attempt("n1", hash: [9, 8])) == unknown)
        #expect(await self.refusal(store, self.attempt("n1", hash: [])) == unknown)
        #expect(unknown != nil)
    }

    @Test func aTokenForAnyoneDoesNotTakeOverANode() async throws {
        let store = try self.files.open()
        _ = try await store.joined("n1", serial: "old")
        try await self.add(store)
        #expect(await self.refusal(store, self.attempt("n1"))?.contains("has joined before") == true)
    }

    @Test func joiningAgainVoidsTheFirstCertificate() async throws {
        let store = try self.files.open()
        let first = try await store.joined("n1", serial: "old")
        #expect(try await store.node("n1", presenting: "old")?.joinID == first.joinID)
        let second = try await store.joined("n1", serial: "new")
        #expect(try await store.node("n1", presenting: "old") == nil)
        #expect(try await store.node("n1", presenting: "new")?.joinID == second.joinID)
        #expect(try await store.node("n2", presenting: "new") == nil)
        await #expect(throws: StoreError.self) {
            try await store.logCertificate(
                certificate("late", node: "n1"), joinID: first.joinID, account: nil, now: start)
        }
    }

    @Test func deletingANodeVoidsItsCertificate() async throws {
        let store = try self.files.open()
        _ = try await store.joined("n1", serial: "ab")
        try await store.deleteNode("n1")
        #expect(try await store.node("n1", presenting: "ab") == nil)
        let error = await #expect(throws: StoreError.self) { try await store.deleteNode("n1") }
        #expect(error?.code == .notFound)
    }
}

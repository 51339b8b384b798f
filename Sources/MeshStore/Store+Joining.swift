// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRDB

/// What a node presents to join.
package struct JoinAttempt: Sendable {
    package var tokenID: String
    /// Digest of the token's secret.
    package var hash: [UInt8]
    package var node: String

    package init(tokenID: String, hash: [UInt8], node: String) {
        self.tokenID = tokenID
        self.hash = hash
        self.node = node
    }
}

extension Store {
    /// Remembers a token by the digest of its secret.
    package func addJoinToken(
        id: String, hash: [UInt8], node: String?, createdAt: Date, expiresAt: Date
    ) async throws(StoreError) {
        try await self.write { db in
            // Tokens that expired a week ago explain nothing any more.
            try db.execute(
                sql: "DELETE FROM joinTokens WHERE expiresAt < ?",
                arguments: [createdAt.addingTimeInterval(-7 * 86_400).stored])
            let waiting =
                try Int.fetchOne(
                    db, sql: "SELECT count(*) FROM joinTokens WHERE usedAt IS NULL AND expiresAt > ?",
                    arguments: [createdAt.stored]) ?? 0
            guard waiting < self.limits.joinTokens else {
                throw StoreError(
                    .full, "\(waiting) join tokens wait to be used, which is the most: delete some, or let them expire")
            }
            try db.execute(
                sql: "INSERT INTO joinTokens (id, hash, node, createdAt, expiresAt) VALUES (?, ?, ?, ?, ?)",
                arguments: [id, Data(hash), node, createdAt.stored, expiresAt.stored])
        }
    }

    package func joinTokens() async throws(StoreError) -> [JoinTokenRecord] {
        try await self.read { db in
            try Row.fetchAll(db, sql: "SELECT * FROM joinTokens ORDER BY createdAt, id").map(Self.joinToken)
        }
    }

    package func deleteJoinToken(_ id: String) async throws(StoreError) {
        try await self.write { db in
            try db.execute(sql: "DELETE FROM joinTokens WHERE id = ?", arguments: [id])
            guard db.changesCount == 1 else { throw StoreError(.notFound, "there is no join token \(id)") }
        }
    }

    /// Throws unless ``join(_:joinID:certificate:now:)`` would accept the attempt now. Nothing is used up.
    package func checkJoin(_ attempt: JoinAttempt, now: Date) async throws(StoreError) {
        try await self.read { _ = try Self.usableToken(attempt, now: now, $0) }
    }

    /// Uses the token up, makes or renews the node, and logs its first certificate, all or nothing.
    package func join(
        _ attempt: JoinAttempt, joinID: String, certificate: CertificateRecord, now: Date
    ) async throws(StoreError) {
        try await self.write { db in
            try Self.usableToken(attempt, now: now, db)
            try db.execute(
                sql: "UPDATE joinTokens SET usedAt = ?, usedBy = ? WHERE id = ?",
                arguments: [now.stored, attempt.node, attempt.tokenID])
            // Joining again voids what the name had before: workloads are registered anew.
            try db.execute(sql: "DELETE FROM nodes WHERE name = ?", arguments: [attempt.node])
            let nodes = try Int.fetchOne(db, sql: "SELECT count(*) FROM nodes") ?? 0
            guard nodes < self.limits.nodes else {
                throw StoreError(
                    .full,
                    "\(nodes) nodes have joined, which is the most: delete those that are gone "
                        + "(`nodemeshctl node delete`)")
            }
            try db.execute(
                sql: """
                    INSERT INTO nodes (name, addresses, tunnelPort, joinedAt, lastSeenAt, generation, joinID)
                    VALUES (?, '', 0, ?, ?, -1, ?)
                    """, arguments: [attempt.node, now.stored, now.stored, joinID])
            try Self.log(certificate, joinID: joinID, now: now, db)
            _ = try Self.nextRevision(db)
        }
    }

    private static func usableToken(_ attempt: JoinAttempt, now: Date, _ db: Database) throws {
        let row = try Row.fetchOne(db, sql: "SELECT * FROM joinTokens WHERE id = ?", arguments: [attempt.tokenID])
        // One text for an unknown identifier and a wrong secret: neither can be told from the other.
        guard let row, Self.isEqual(Array(row["hash"] as Data), attempt.hash) else {
            throw StoreError(
                .tokenRefused, "the join token is not known here: make one with `nodemeshctl join-token create`")
        }
        let token = Self.joinToken(row)
        if token.usedAt != nil {
            throw StoreError(
                .tokenRefused, "the join token was already used by the node \(token.usedBy ?? "?"): make another")
        }
        guard token.expiresAt > now else {
            throw StoreError(.tokenRefused, "the join token expired at \(token.expiresAt): make another")
        }
        if let node = token.node, node != attempt.node {
            throw StoreError(.tokenRefused, "the join token is for the node \(node), not \(attempt.node)")
        }
        if token.node == nil, try !Self.nodes(db, name: attempt.node).isEmpty {
            throw StoreError(
                .tokenRefused,
                "a node named \(attempt.node) has joined before: choose another name, or make a token for exactly "
                    + "this node (`nodemeshctl join-token create --node \(attempt.node)`)")
        }
    }

    private static func joinToken(_ row: Row) -> JoinTokenRecord {
        JoinTokenRecord(
            id: row["id"], node: row["node"], createdAt: Date(stored: row["createdAt"]),
            expiresAt: Date(stored: row["expiresAt"]),
            usedAt: (row["usedAt"] as Double?).map { Date(stored: $0) }, usedBy: row["usedBy"])
    }

    /// Takes the same time wherever the difference is.
    private static func isEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        left.count == right.count && zip(left, right).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
    }
}

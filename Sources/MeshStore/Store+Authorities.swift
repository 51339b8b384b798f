// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRDB

/// A root of the mesh. Its key is in a file of the data directory, never in the store.
package struct AuthorityRecord: Hashable, Sendable {
    package enum State: String, Sendable, Hashable, CaseIterable {
        /// Nodes are told to trust it; it does not sign yet.
        case next
        /// It signs.
        case active
        /// It signs no more, and is trusted until it is retired.
        case old
    }

    /// `sha256:<hex>`.
    package var fingerprint: String
    /// PEM.
    package var certificate: String
    package var state: State
    package var addedAt: Date

    package init(fingerprint: String, certificate: String, state: State, addedAt: Date) {
        self.fingerprint = fingerprint
        self.certificate = certificate
        self.state = state
        self.addedAt = addedAt
    }
}

extension Store {
    package func authorities() async throws(StoreError) -> [AuthorityRecord] {
        try await self.read { try Self.authorities($0) }
    }

    /// Remembers a root. There is one of each state at most.
    package func addAuthority(_ record: AuthorityRecord) async throws(StoreError) {
        try await self.write { db in
            try Self.checkFree(record.state, db)
            if record.state == .next { try Self.checkFree(.old, db) }
            try db.execute(
                sql: "INSERT INTO authorities (fingerprint, certificate, state, addedAt) VALUES (?, ?, ?, ?)",
                arguments: [record.fingerprint, record.certificate, record.state.rawValue, record.addedAt.stored])
            _ = try Self.nextRevision(db)
        }
    }

    /// From now on the next root signs, and the one before is an old one.
    package func activateNextAuthority() async throws(StoreError) {
        try await self.write { db in
            guard try Self.authorities(db).contains(where: { $0.state == .next }) else {
                throw StoreError(.conflict, "there is no next root: begin with 'nodemeshctl ca rotate'")
            }
            try Self.checkFree(.old, db)
            try db.execute(sql: "UPDATE authorities SET state = 'old' WHERE state = 'active'")
            try db.execute(sql: "UPDATE authorities SET state = 'active' WHERE state = 'next'")
            _ = try Self.nextRevision(db)
        }
    }

    /// Forgets the root of a state; nobody is told to trust it any more.
    package func removeAuthority(_ state: AuthorityRecord.State) async throws(StoreError) {
        try await self.write { db in
            try db.execute(sql: "DELETE FROM authorities WHERE state = ?", arguments: [state.rawValue])
            guard db.changesCount == 1 else {
                throw StoreError(
                    .conflict,
                    state == .next
                        ? "there is no next root to take back" : "there is no old root to retire: a rotation leaves one"
                )
            }
            _ = try Self.nextRevision(db)
        }
    }

    /// Writes which roots a node trusts and which its certificates lead to; nothing when it is so already.
    package func setRoots(of node: String, trusted: [String], issuing: [String]) async throws(StoreError) {
        try await self.write { db in
            try db.execute(
                sql: "UPDATE nodes SET trustedRoots = ?, issuingRoots = ? WHERE name = ?",
                arguments: [trusted.joined(separator: " "), issuing.joined(separator: " "), node])
        }
    }

    /// Makes the revision at least this, so that nodes which have seen a newer one believe this store again.
    package func raiseRevision(to revision: Int64) async throws(StoreError) {
        try await self.write { db in
            try db.execute(sql: "UPDATE revision SET value = max(value, ?)", arguments: [revision])
        }
    }

    private static func checkFree(_ state: AuthorityRecord.State, _ db: Database) throws {
        guard let other = try self.authorities(db).first(where: { $0.state == state }) else { return }
        let hint =
            switch state {
            case .next: "a rotation is under way: 'nodemeshctl ca status' shows what it waits for"
            case .active: "one root signs already"
            case .old: "the root before is still trusted: end its rotation with 'nodemeshctl ca retire'"
            }
        throw StoreError(.conflict, "\(hint) (\(other.fingerprint))")
    }

    private static func authorities(_ db: Database) throws -> [AuthorityRecord] {
        try Row.fetchAll(db, sql: "SELECT * FROM authorities ORDER BY addedAt, fingerprint").map { row in
            guard let state = AuthorityRecord.State(rawValue: row["state"]) else {
                throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: "a root has an unknown state")
            }
            return AuthorityRecord(
                fingerprint: row["fingerprint"], certificate: row["certificate"], state: state,
                addedAt: Date(stored: row["addedAt"]))
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRDB
import MeshModel
import MeshResources

extension Store {
    /// Stores all of `changes` or none, in order.
    ///
    /// - Parameters:
    ///   - dryRun: answers what would happen and changes nothing.
    ///   - check: looks at everything stored, the changes included, and throws to refuse all of them.
    /// - Returns: one outcome for each change.
    package func apply(
        _ changes: [ResourceChange], dryRun: Bool = false, now: Date = Date(),
        check: @escaping @Sendable (StoreSnapshot) throws -> Void = { _ in }
    ) async throws(StoreError) -> [ResourceOutcome] {
        try await self.change(dryRun: dryRun, check: check) { db in
            // Fixed addresses first: an automatic one must not take what a later document names.
            let order = changes.indices.sorted { changes[$0].address.rank < changes[$1].address.rank }
            var addressChanged = Set<Int>()
            for index in order where try self.giveAddress(changes[index], now: now, db) { addressChanged.insert(index) }
            try VirtualAddresses.purge(now: now, db)
            let outcomes = try changes.indices.map {
                try Self.store(changes[$0], force: addressChanged.contains($0), db)
            }
            try self.checkRoom(for: Set(zip(changes, outcomes).filter { $1 == .created }.map(\.0.key.kind)), db)
            return outcomes
        }
    }

    /// Removes all of `keys`, or none when one of them is not stored.
    ///
    /// - Parameter ignoringAbsent: what is not stored is `unchanged` instead, and the others go.
    package func delete(
        _ keys: [ResourceKey], dryRun: Bool = false, ignoringAbsent: Bool = false, now: Date = Date(),
        check: @escaping @Sendable (StoreSnapshot) throws -> Void = { _ in }
    ) async throws(StoreError) -> [ResourceOutcome] {
        try await self.change(dryRun: dryRun, check: check) { db in
            var absent = Set<ResourceKey>()
            for key in Set(keys) {
                try db.execute(
                    sql: "DELETE FROM resources WHERE kind = ? AND namespace = ? AND name = ?",
                    arguments: [key.kind.rawValue, key.namespace, key.name])
                guard db.changesCount == 1 else {
                    guard ignoringAbsent else { throw StoreError(.notFound, "there is no \(key)") }
                    absent.insert(key)
                    continue
                }
                try VirtualAddresses.release(key, now: now, db)
                _ = try Self.nextRevision(db)
            }
            return keys.map { absent.contains($0) ? .unchanged : .deleted }
        }
    }

    /// The resources of a kind, or of all kinds, sorted.
    package func resources(kind: ResourceKind? = nil, namespace: String? = nil, name: String? = nil)
        async throws(StoreError) -> [ResourceRecord]
    {
        try await self.read { try Self.resources($0, kind: kind, namespace: namespace, name: name) }
    }

    static func resources(
        _ db: Database, kind: ResourceKind? = nil, namespace: String? = nil, name: String? = nil
    ) throws -> [ResourceRecord] {
        let addresses = try VirtualAddresses.live(db)
        return try Row.fetchAll(
            db,
            sql: """
                SELECT * FROM resources
                WHERE (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR namespace = ?2) AND (?3 IS NULL OR name = ?3)
                ORDER BY kind, namespace, name
                """, arguments: [kind?.rawValue, namespace, name]
        ).map { row in
            guard let kind = ResourceKind(rawValue: row["kind"]) else {
                throw DatabaseError(
                    resultCode: .SQLITE_CORRUPT, message: "a resource of unknown kind \(row["kind"] as String)")
            }
            let key = ResourceKey(kind: kind, namespace: row["namespace"], name: row["name"])
            return ResourceRecord(
                key: key, json: row["json"], version: row["version"], created: row["created"],
                addresses: addresses[key] ?? [])
        }
    }

    /// Thrown to roll a dry run back with its result.
    private struct DryRun: Error { var outcomes: [ResourceOutcome] }

    private func change(
        dryRun: Bool, check: @escaping @Sendable (StoreSnapshot) throws -> Void,
        _ body: @Sendable (Database) throws -> [ResourceOutcome]
    ) async throws(StoreError) -> [ResourceOutcome] {
        do {
            return try await self.transaction { db in
                let outcomes = try body(db)
                try check(
                    StoreSnapshot(
                        revision: try Self.revision(db), resources: try Self.resources(db),
                        nodes: try Self.nodes(db), workloads: try Self.workloads(db)))
                if dryRun { throw DryRun(outcomes: outcomes) }
                return outcomes
            }
        } catch let result as DryRun {
            return result.outcomes
        } catch {
            throw StoreError(error, path: self.path)
        }
    }

    private static func store(_ change: ResourceChange, force: Bool, _ db: Database) throws -> ResourceOutcome {
        let key = change.key
        let existing = try String.fetchOne(
            db, sql: "SELECT json FROM resources WHERE kind = ? AND namespace = ? AND name = ?",
            arguments: [key.kind.rawValue, key.namespace, key.name])
        if existing == change.json, !force { return .unchanged }
        let revision = try Self.nextRevision(db)
        try db.execute(
            sql: """
                INSERT INTO resources (kind, namespace, name, json, version, created) VALUES (?, ?, ?, ?, ?, ?)
                ON CONFLICT DO UPDATE SET json = excluded.json, version = excluded.version
                """, arguments: [key.kind.rawValue, key.namespace, key.name, change.json, revision, revision])
        return existing == nil ? .created : .configured
    }

    private func checkRoom(for kinds: Set<ResourceKind>, _ db: Database) throws {
        for kind in kinds {
            let count =
                try Int.fetchOne(
                    db, sql: "SELECT count(*) FROM resources WHERE kind = ?", arguments: [kind.rawValue]) ?? 0
            guard count <= self.limits.resourcesPerKind else {
                throw StoreError(
                    .full,
                    "there would be \(count) resources of kind \(kind.rawValue); at most "
                        + "\(self.limits.resourcesPerKind) are kept: delete some first")
            }
        }
    }

    private func giveAddress(_ change: ResourceChange, now: Date, _ db: Database) throws -> Bool {
        try VirtualAddresses.give(change.address, to: change.key, from: self.virtualPrefixes, now: now, db)
    }
}

extension VirtualAddress {
    fileprivate var rank: Int {
        if self.fixed.isEmpty { return self.automatic.isEmpty ? 0 : 3 }
        return self.automatic.isEmpty ? 1 : 2
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRDB
import MeshModel
import MeshResources

/// The table of virtual addresses: at most one live owner for each, and an owner keeps its own.
enum VirtualAddresses {
    /// How long a released address is kept from other services: a node with an old view, and a client with an old DNS
    /// answer, must not reach a stranger.
    static let quarantine: TimeInterval = 3_600
    /// The first addresses of the range are left to operators who name one.
    static let reserved: UInt64 = 256

    /// Gives `key` the addresses it wants and no others; true when that changed something.
    ///
    /// - Parameter prefixes: where automatic addresses come from; a family without one has none.
    static func give(
        _ wanted: VirtualAddress, to key: ResourceKey, from prefixes: [IPPrefix], now: Date, _ db: Database
    ) throws -> Bool {
        let ranges = wanted.automatic.compactMap { family in prefixes.first { $0.address.family == family } }
        let owned = try Self.owned(by: key, db)
        let live = owned.filter(\.isLive)
        let chosen = Set(live.filter { !$0.isAutomatic }.map(\.address))
        if chosen == Set(wanted.fixed), live.count == chosen.count + ranges.count,
            ranges.allSatisfy({ range in live.contains { $0.isAutomatic && range.contains($0.address) } })
        {
            return false
        }
        let hadSome = try Self.release(key, now: now, db)
        try Self.claim(wanted.fixed, for: key, db)
        for range in ranges {
            if let own = owned.first(where: { $0.isAutomatic && range.contains($0.address) }) {
                try Self.take(own.address, for: key, automatic: true, db)
            } else {
                try Self.allocate(key, from: range, now: now, db)
            }
        }
        return hadSome || !wanted.fixed.isEmpty || !ranges.isEmpty
    }

    /// Finds a free address of `prefix`.
    ///
    /// The choice begins at a hash of the name, so that a service that is deleted and made again gets its old one.
    private static func allocate(_ key: ResourceKey, from prefix: IPPrefix, now: Date, _ db: Database) throws {
        guard prefix.mappedLength <= 118 else {
            throw StoreError(
                .conflict,
                "\(prefix) is too small for virtual addresses: it needs to be /22 or wider, or /118 in IPv6")
        }
        let size = UInt64(1) << UInt64(128 - max(96, prefix.mappedLength))
        // Neither the reserved ones nor the last, which looks like a broadcast address.
        let usable = size - Self.reserved - 1
        let start = UInt64(Self.hash(key)) % usable
        let before = now.addingTimeInterval(-Self.quarantine).stored
        for step in 0..<usable {
            let address = IPAddress(
                high: prefix.address.high, low: prefix.address.low + Self.reserved + (start + step) % usable)
            let isTaken = try Bool.fetchOne(
                db,
                sql: """
                    SELECT EXISTS (SELECT 1 FROM addresses WHERE address = ? AND (releasedAt IS NULL OR releasedAt > ?))
                    """, arguments: [address.description, before])
            if isTaken == true { continue }
            try Self.take(address, for: key, automatic: true, db)
            return
        }
        throw StoreError([
            .init(
                key: key, path: "spec.clusterIP",
                reason: "no virtual address of \(prefix) is free: delete services that are no longer needed (their "
                    + "addresses are free again an hour later)")
        ])
    }

    /// Takes the addresses that the operator named.
    private static func claim(_ addresses: [IPAddress], for key: ResourceKey, _ db: Database) throws {
        for address in addresses {
            let owner = try Row.fetchOne(
                db, sql: "SELECT * FROM addresses WHERE address = ? AND releasedAt IS NULL",
                arguments: [address.description])
            if let owner {
                throw StoreError([
                    .init(
                        key: key, path: "spec.clusterIP",
                        reason: "\(address) belongs to the \(owner["kind"] as String) "
                            + "\(owner["namespace"] as String)/\(owner["name"] as String): choose another")
                ])
            }
            try Self.take(address, for: key, automatic: false, db)
        }
    }

    /// Gives the services of a store that an older version wrote the addresses that they have in this one; true when
    /// that changed something.
    static func complete(from prefixes: [IPPrefix], now: Date, _ db: Database) throws -> Bool {
        var changed = false
        for row in try Row.fetchAll(
            db, sql: "SELECT * FROM resources WHERE kind = ? ORDER BY created",
            arguments: [ResourceKind.service.rawValue])
        {
            // One that cannot be read is reported where it is used.
            guard case .service(let service)? = try? Resource(canonicalJSON: row["json"]) else { continue }
            let key = ResourceKey(kind: .service, namespace: row["namespace"], name: row["name"])
            if try Self.give(service.virtualAddress, to: key, from: prefixes, now: now, db) { changed = true }
        }
        return changed
    }

    /// Every address in use, by owner.
    static func live(_ db: Database) throws -> [ResourceKey: [IPAddress]] {
        var result: [ResourceKey: [IPAddress]] = [:]
        for row in try Row.fetchAll(db, sql: "SELECT * FROM addresses WHERE releasedAt IS NULL ORDER BY address") {
            guard let kind = ResourceKind(rawValue: row["kind"]), let address = IPAddress(row["address"] as String)
            else { continue }
            result[ResourceKey(kind: kind, namespace: row["namespace"], name: row["name"]), default: []].append(address)
        }
        return result
    }

    /// Takes the address away from `key`; true when it had one.
    @discardableResult
    static func release(_ key: ResourceKey, now: Date, _ db: Database) throws -> Bool {
        try db.execute(
            sql: """
                UPDATE addresses SET releasedAt = ?
                WHERE kind = ? AND namespace = ? AND name = ? AND releasedAt IS NULL
                """, arguments: [now.stored, key.kind.rawValue, key.namespace, key.name])
        return db.changesCount > 0
    }

    /// Forgets addresses whose quarantine is over.
    static func purge(now: Date, _ db: Database) throws {
        try db.execute(
            sql: "DELETE FROM addresses WHERE releasedAt < ?",
            arguments: [now.addingTimeInterval(-Self.quarantine).stored])
    }

    private struct Owned {
        var address: IPAddress
        var isAutomatic: Bool
        var isLive: Bool
    }

    private static func owned(by key: ResourceKey, _ db: Database) throws -> [Owned] {
        try Row.fetchAll(
            db, sql: "SELECT * FROM addresses WHERE kind = ? AND namespace = ? AND name = ? ORDER BY address",
            arguments: [key.kind.rawValue, key.namespace, key.name]
        ).compactMap { row in
            IPAddress(row["address"] as String).map {
                Owned(address: $0, isAutomatic: row["automatic"], isLive: (row["releasedAt"] as Double?) == nil)
            }
        }
    }

    private static func take(_ address: IPAddress, for key: ResourceKey, automatic: Bool, _ db: Database) throws {
        try db.execute(
            sql: """
                INSERT OR REPLACE INTO addresses (address, kind, namespace, name, automatic, releasedAt)
                VALUES (?, ?, ?, ?, ?, NULL)
                """, arguments: [address.description, key.kind.rawValue, key.namespace, key.name, automatic])
    }

    /// FNV-1a: the same in every process, unlike Swift's own hash.
    private static func hash(_ key: ResourceKey) -> UInt32 {
        "\(key.namespace)/\(key.name)".utf8.reduce(0x811c_9dc5) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
    }
}

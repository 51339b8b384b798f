// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRDB
import MeshModel

/// What the control plane remembers: resources, nodes, their workloads, join tokens, virtual addresses and issued
/// certificates, in one SQLite file (write-ahead log, mode 0600). Every method is one transaction.
package final class Store: Sendable {
    package let path: String
    /// Where automatic virtual addresses come from, at most one for each family.
    package let virtualPrefixes: [IPPrefix]
    let limits: StoreLimits
    private let pool: DatabasePool

    /// Opens the file, or makes it, and brings its tables up to date.
    ///
    /// Refuses a file that is damaged, belongs to another program or was written by a newer version.
    package init(
        path: String, virtualPrefixes: [IPPrefix], limits: StoreLimits = .init()
    ) throws(StoreError) {
        self.path = path
        self.limits = limits
        self.virtualPrefixes = virtualPrefixes
        // SQLite gives the -wal and -shm files the mode of the database.
        try PrivateFile.prepare(path)
        do {
            self.pool = try Self.open(path)
            try self.pool.write { db in
                if try VirtualAddresses.complete(from: virtualPrefixes, now: Date(), db) {
                    _ = try Self.nextRevision(db)
                }
            }
        } catch {
            throw StoreError(error, path: path)
        }
    }

    private static func open(_ path: String) throws -> DatabasePool {
        var configuration = Configuration()
        configuration.busyMode = .timeout(5)
        configuration.maximumReaderCount = 4
        configuration.prepareDatabase { db in
            // A used token or a given address must not come back after a power failure.
            try db.execute(sql: "PRAGMA synchronous = FULL")
            try db.execute(sql: "PRAGMA trusted_schema = OFF")
        }
        try Self.checkOwner(path)
        let pool = try DatabasePool(path: path, configuration: configuration)
        let migrator = Schema.migrator
        try pool.read { db in
            guard try !migrator.hasBeenSuperseded(db) else {
                throw StoreError(
                    .foreign,
                    "\(path) was written by a newer version of nodemesh-control: run that version, or restore the "
                        + "data directory of this one from a backup")
            }
            let result = try String.fetchOne(db, sql: "PRAGMA quick_check(1)")
            guard result == "ok" else {
                throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: result)
            }
        }
        try migrator.migrate(pool)
        return pool
    }

    /// Reads the header without the write-ahead log, so that a foreign file is not even touched.
    private static func checkOwner(_ path: String) throws {
        var configuration = Configuration()
        configuration.readonly = true
        let queue = try DatabaseQueue(path: path, configuration: configuration)
        try queue.read { db in
            let owner = try Int32.fetchOne(db, sql: "PRAGMA application_id") ?? 0
            let tables = try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master") ?? 0
            guard owner == Schema.applicationID || (owner == 0 && tables == 0) else {
                throw StoreError(
                    .foreign, "\(path) is another program's database: choose another data directory")
            }
        }
        try queue.close()
    }

    /// Everything the mapping depends on, as of one moment.
    package func snapshot() async throws(StoreError) -> StoreSnapshot {
        try await self.read { db in
            StoreSnapshot(
                revision: try Self.revision(db),
                resources: try Self.resources(db),
                nodes: try Self.nodes(db),
                workloads: try Self.workloads(db))
        }
    }

    /// Grows with every change.
    package func presentRevision() async throws(StoreError) -> Int64 { try await self.read { try Self.revision($0) } }

    /// Moves the write-ahead log into the file and closes it; later calls fail.
    package func close() throws(StoreError) {
        do {
            try self.pool.writeWithoutTransaction { _ = try $0.checkpoint(.truncate) }
            try self.pool.close()
        } catch {
            throw StoreError(error, path: self.path)
        }
    }

    func read<T: Sendable>(_ body: @Sendable (Database) throws -> T) async throws(StoreError) -> T {
        do { return try await self.pool.read(body) } catch { throw StoreError(error, path: self.path) }
    }

    func write<T: Sendable>(_ body: @Sendable (Database) throws -> T) async throws(StoreError) -> T {
        do { return try await self.pool.write(body) } catch { throw StoreError(error, path: self.path) }
    }

    /// Like ``write(_:)``, with the thrown error as it is.
    func transaction<T: Sendable>(_ body: @Sendable (Database) throws -> T) async throws -> T {
        try await self.pool.write(body)
    }

    static func revision(_ db: Database) throws -> Int64 {
        try Int64.fetchOne(db, sql: "SELECT value FROM revision") ?? 0
    }

    static func nextRevision(_ db: Database) throws -> Int64 {
        try db.execute(sql: "UPDATE revision SET value = value + 1")
        return try Self.revision(db)
    }
}

extension Date {
    /// The form in which the tables hold times.
    var stored: Double { self.timeIntervalSince1970 }
    init(stored: Double) { self.init(timeIntervalSince1970: stored) }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRDB
import MeshModel

extension Store {
    package func nodes() async throws(StoreError) -> [NodeRecord] {
        try await self.read { try Self.nodes($0) }
    }

    package func node(_ name: String) async throws(StoreError) -> NodeRecord? {
        try await self.read { try Self.nodes($0, name: name).first }
    }

    /// Forgets a node and its workloads; its certificates are void from now on.
    package func deleteNode(_ name: String) async throws(StoreError) {
        try await self.write { db in
            try db.execute(sql: "DELETE FROM nodes WHERE name = ?", arguments: [name])
            guard db.changesCount == 1 else { throw StoreError(.notFound, "there is no node \(name)") }
            _ = try Self.nextRevision(db)
        }
    }

    /// Writes when nodes were last heard from; unknown names are ignored.
    package func touchNodes(_ times: [String: Date]) async throws(StoreError) {
        try await self.write { db in
            for (name, time) in times {
                try db.execute(
                    sql: "UPDATE nodes SET lastSeenAt = ? WHERE name = ?", arguments: [time.stored, name])
            }
        }
    }

    static func nodes(_ db: Database, name: String? = nil) throws -> [NodeRecord] {
        try Row.fetchAll(
            db, sql: "SELECT * FROM nodes WHERE ?1 IS NULL OR name = ?1 ORDER BY name", arguments: [name]
        ).map { row in
            NodeRecord(
                name: row["name"], addresses: Self.decodeAddresses(row["addresses"]),
                tunnelPort: UInt16(truncatingIfNeeded: row["tunnelPort"] as Int),
                joinedAt: Date(stored: row["joinedAt"]),
                lastSeenAt: (row["lastSeenAt"] as Double?).map { Date(stored: $0) },
                generation: UInt64(bitPattern: row["generation"] as Int64), joinID: row["joinID"],
                locality: Locality(row["locality"] as String) ?? Locality(),
                trustedRoots: (row["trustedRoots"] as String).split(separator: " ").map(String.init),
                issuingRoots: (row["issuingRoots"] as String).split(separator: " ").map(String.init))
        }
    }

    static func encodeAddresses(_ addresses: [IPAddress]) -> String {
        addresses.map(\.description).joined(separator: " ")
    }

    static func decodeAddresses(_ text: String) -> [IPAddress] {
        text.split(separator: " ").compactMap { IPAddress(String($0)) }
    }
}

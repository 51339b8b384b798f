// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRDB
import MeshModel
import MeshResources

/// A node's word on itself.
package struct NodeRegistration: Sendable {
    package var node: String
    /// See ``NodeRecord/joinID``: a registration under a void one is refused.
    package var joinID: String
    package var addresses: [IPAddress]
    package var tunnelPort: UInt16
    package var generation: UInt64
    package var locality: Locality
    package var workloads: [WorkloadRecord]

    package init(
        node: String, joinID: String, addresses: [IPAddress], tunnelPort: UInt16, generation: UInt64,
        locality: Locality = .init(), workloads: [WorkloadRecord]
    ) {
        self.node = node
        self.joinID = joinID
        self.addresses = addresses
        self.tunnelPort = tunnelPort
        self.generation = generation
        self.locality = locality
        self.workloads = workloads
    }
}

/// What became of a registration.
package struct RegistrationResult: Sendable, Hashable {
    package struct Refusal: Sendable, Hashable {
        package var id: WorkloadID
        package var reason: String

        package init(id: WorkloadID, reason: String) {
            self.id = id
            self.reason = reason
        }
    }

    package var refusals: [Refusal]
    /// Something that nodes see is now different.
    package var changed: Bool
}

extension Store {
    /// Replaces the workloads of one node; the ones that cannot be taken are named with a reason, the others stand.
    ///
    /// - Parameter isAlive: tells whether another node still holds on to its workloads: a dead node loses a name or an
    ///   address to the node that claims it.
    package func register(
        _ registration: NodeRegistration, now: Date, isAlive: @escaping @Sendable (String) -> Bool
    ) async throws(StoreError) -> RegistrationResult {
        try await self.write { db in
            guard let node = try Self.nodes(db, name: registration.node).first, node.joinID == registration.joinID
            else { throw StoreError(.notFound, "the node \(registration.node) was deleted: join it again") }
            let before = Set(try Self.workloads(db, node: registration.node))
            try db.execute(sql: "DELETE FROM workloads WHERE node = ?", arguments: [registration.node])
            var table = RegistrationTable(
                others: try Self.workloads(db), resources: Set(try Self.resources(db, kind: .workload).map(\.key)),
                isAlive: isAlive)
            var refusals: [RegistrationResult.Refusal] = []
            var accepted: [WorkloadRecord] = []
            for workload in registration.workloads {
                if let reason = table.claim(workload) {
                    refusals.append(.init(id: workload.id, reason: reason))
                } else {
                    accepted.append(workload)
                }
            }
            for lost in table.lost {
                // The loser, should it come back, has to be told: a generation it never had makes it register again.
                try db.execute(
                    sql: """
                        UPDATE nodes SET generation = -1 WHERE name =
                            (SELECT node FROM workloads WHERE namespace = ?1 AND name = ?2);
                        """, arguments: [lost.namespace, lost.name])
                try db.execute(
                    sql: "DELETE FROM workloads WHERE namespace = ? AND name = ?",
                    arguments: [lost.namespace, lost.name])
            }
            for workload in accepted { try Self.insert(workload, db) }
            try db.execute(
                sql: """
                    UPDATE nodes SET addresses = ?, tunnelPort = ?, generation = ?, lastSeenAt = ?, locality = ?
                    WHERE name = ?
                    """,
                arguments: [
                    Self.encodeAddresses(registration.addresses), Int(registration.tunnelPort),
                    Int64(bitPattern: registration.generation), now.stored, registration.locality.description,
                    registration.node,
                ])
            let changed =
                Set(accepted) != before || !table.lost.isEmpty || node.addresses != registration.addresses
                || node.tunnelPort != registration.tunnelPort || node.locality != registration.locality
            if changed { _ = try Self.nextRevision(db) }
            return RegistrationResult(refusals: refusals, changed: changed)
        }
    }

    package func workloads(node: String? = nil) async throws(StoreError) -> [WorkloadRecord] {
        try await self.read { try Self.workloads($0, node: node) }
    }

    /// Whether `node` runs a workload of this service account now.
    package func runs(node: String, account: NamespacedName) async throws(StoreError) -> Bool {
        try await self.read { try Self.runs($0, node: node, account: account) }
    }

    static func runs(_ db: Database, node: String, account: NamespacedName) throws -> Bool {
        try Bool.fetchOne(
            db,
            sql: "SELECT EXISTS (SELECT 1 FROM workloads WHERE node = ? AND namespace = ? AND serviceAccount = ?)",
            arguments: [node, account.namespace, account.name]) ?? false
    }

    static func workloads(_ db: Database, node: String? = nil) throws -> [WorkloadRecord] {
        try Row.fetchAll(
            db, sql: "SELECT * FROM workloads WHERE ?1 IS NULL OR node = ?1 ORDER BY namespace, name",
            arguments: [node]
        ).map { row in
            WorkloadRecord(
                id: WorkloadID(namespace: row["namespace"], name: row["name"]), node: row["node"],
                serviceAccount: row["serviceAccount"],
                labels: (try? JSONDecoder().decode([String: String].self, from: Data((row["labels"] as String).utf8)))
                    ?? [:],
                addresses: Self.decodeAddresses(row["addresses"]), isHostNetwork: row["hostNetwork"],
                ports: (row["ports"] as String).split(separator: ",").compactMap { UInt16($0) },
                weight: UInt32(clamping: row["weight"] as Int))
        }
    }

    private static func insert(_ workload: WorkloadRecord, _ db: Database) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let labels = String(decoding: try encoder.encode(workload.labels), as: UTF8.self)
        try db.execute(
            sql: """
                INSERT INTO workloads (namespace, name, node, serviceAccount, labels, addresses, hostNetwork, ports,
                    weight)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                workload.id.namespace, workload.id.name, workload.node, workload.serviceAccount, labels,
                Self.encodeAddresses(workload.addresses), workload.isHostNetwork,
                workload.ports.map(String.init).joined(separator: ","), Int(workload.weight),
            ])
    }
}

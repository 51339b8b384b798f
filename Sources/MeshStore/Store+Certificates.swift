// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRDB
import MeshModel

extension Store {
    /// Logs an issued certificate, which must happen before it is handed out.
    ///
    /// - Parameter account: the workload identity's namespace and service account; nil for a node's own.
    /// - Throws: `notFound` when the node is gone or has joined anew, `conflict` when it runs no workload of `account`.
    package func logCertificate(
        _ certificate: CertificateRecord, joinID: String, account: NamespacedName?, now: Date
    ) async throws(StoreError) {
        try await self.write { db in
            if let account, try !Self.runs(db, node: certificate.node, account: account) {
                throw StoreError(
                    .conflict,
                    "the node \(certificate.node) runs no workload with the service account \(account): enrol one "
                        + "first")
            }
            guard try Self.nodes(db, name: certificate.node).first?.joinID == joinID else {
                throw StoreError(.notFound, "the node \(certificate.node) was deleted: join it again")
            }
            try Self.log(certificate, joinID: joinID, now: now, db)
        }
    }

    /// The log, newest end first, at most `limit` entries.
    package func certificates(limit: Int = 10_000) async throws(StoreError) -> [CertificateRecord] {
        try await self.read { db in
            try Row.fetchAll(
                db, sql: "SELECT * FROM certificates ORDER BY notAfter DESC, serial LIMIT ?", arguments: [limit]
            ).map { row in
                CertificateRecord(
                    serial: row["serial"], identity: row["identity"], node: row["node"],
                    notBefore: Date(stored: row["notBefore"]), notAfter: Date(stored: row["notAfter"]))
            }
        }
    }

    /// The node that a presented certificate stands for.
    ///
    /// nil when it was not issued here, when the node was deleted, or when the node has joined anew since.
    package func node(_ name: String, presenting serial: String) async throws(StoreError) -> NodeRecord? {
        try await self.read { db in
            guard let node = try Self.nodes(db, name: name).first else { return nil }
            let joinID = try String.fetchOne(
                db, sql: "SELECT joinID FROM certificates WHERE serial = ? AND node = ?", arguments: [serial, name])
            return joinID == node.joinID ? node : nil
        }
    }

    static func log(_ certificate: CertificateRecord, joinID: String, now: Date, _ db: Database) throws {
        try db.execute(
            sql: "DELETE FROM certificates WHERE notAfter < ?", arguments: [now.addingTimeInterval(-86_400).stored])
        try db.execute(
            sql: """
                INSERT INTO certificates (serial, identity, node, joinID, notBefore, notAfter)
                VALUES (?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                certificate.serial, certificate.identity, certificate.node, joinID, certificate.notBefore.stored,
                certificate.notAfter.stored,
            ])
    }
}

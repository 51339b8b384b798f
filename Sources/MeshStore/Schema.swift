// SPDX-License-Identifier: Apache-2.0

import GRDB

/// The tables, and how older files become newer ones. A migration that was released is never edited: add another.
enum Schema {
    /// "nmsh": says that the file is ours (sqlite.org/fileformat.html §1.3.17).
    static let applicationID: Int32 = 0x6e6d_7368

    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1 initial") { db in
            try db.execute(sql: "PRAGMA application_id = \(Self.applicationID)")
            try db.execute(
                sql: """
                    CREATE TABLE revision (id INTEGER PRIMARY KEY CHECK (id = 1), value INTEGER NOT NULL);
                    INSERT INTO revision VALUES (1, 0);
                    CREATE TABLE resources (
                        kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
                        json TEXT NOT NULL, version INTEGER NOT NULL, created INTEGER NOT NULL,
                        PRIMARY KEY (kind, namespace, name)) WITHOUT ROWID;
                    CREATE TABLE addresses (
                        address TEXT PRIMARY KEY, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
                        automatic INTEGER NOT NULL, releasedAt REAL) WITHOUT ROWID;
                    CREATE INDEX addressesByOwner ON addresses (kind, namespace, name);
                    CREATE TABLE nodes (
                        name TEXT PRIMARY KEY, addresses TEXT NOT NULL, tunnelPort INTEGER NOT NULL,
                        joinedAt REAL NOT NULL, lastSeenAt REAL, generation INTEGER NOT NULL,
                        joinID TEXT NOT NULL) WITHOUT ROWID;
                    CREATE TABLE workloads (
                        namespace TEXT NOT NULL, name TEXT NOT NULL,
                        node TEXT NOT NULL REFERENCES nodes (name) ON DELETE CASCADE,
                        serviceAccount TEXT NOT NULL, labels TEXT NOT NULL, addresses TEXT NOT NULL,
                        hostNetwork INTEGER NOT NULL,
                        PRIMARY KEY (namespace, name)) WITHOUT ROWID;
                    CREATE INDEX workloadsByNode ON workloads (node);
                    CREATE TABLE joinTokens (
                        id TEXT PRIMARY KEY, hash BLOB NOT NULL, node TEXT, createdAt REAL NOT NULL,
                        expiresAt REAL NOT NULL, usedAt REAL, usedBy TEXT) WITHOUT ROWID;
                    CREATE TABLE certificates (
                        serial TEXT PRIMARY KEY, identity TEXT NOT NULL, node TEXT NOT NULL, joinID TEXT NOT NULL,
                        notBefore REAL NOT NULL, notAfter REAL NOT NULL) WITHOUT ROWID;
                    CREATE INDEX certificatesByEnd ON certificates (notAfter);
                    """)
        }
        migrator.registerMigration("2 localities") { db in
            try db.execute(sql: "ALTER TABLE nodes ADD COLUMN locality TEXT NOT NULL DEFAULT ''")
        }
        migrator.registerMigration("3 weights") { db in
            try db.execute(sql: "ALTER TABLE workloads ADD COLUMN weight INTEGER NOT NULL DEFAULT 1")
        }
        migrator.registerMigration("4 ports") { db in
            try db.execute(sql: "ALTER TABLE workloads ADD COLUMN ports TEXT NOT NULL DEFAULT ''")
        }
        migrator.registerMigration("5 authorities") { db in
            try db.execute(
                sql: """
                    CREATE TABLE authorities (
                        fingerprint TEXT PRIMARY KEY, certificate TEXT NOT NULL, state TEXT NOT NULL,
                        addedAt REAL NOT NULL) WITHOUT ROWID;
                    ALTER TABLE nodes ADD COLUMN trustedRoots TEXT NOT NULL DEFAULT '';
                    ALTER TABLE nodes ADD COLUMN issuingRoots TEXT NOT NULL DEFAULT '';
                    """)
        }
        return migrator
    }
}

// SPDX-License-Identifier: Apache-2.0

import GRDB

/// Changes a database file behind the store's back.
enum RawDatabase {
    static func execute(_ sql: String, path: String) throws {
        let queue = try DatabaseQueue(path: path)
        try queue.write { try $0.execute(sql: sql) }
        try queue.close()
    }
}

// SPDX-License-Identifier: Apache-2.0

import GRDB
import MeshResources

/// Why the store refused or failed. The message says what the operator should check or change.
package struct StoreError: Error, Equatable, CustomStringConvertible {
    package enum Code: Sendable, Equatable {
        /// The file is damaged, or is no database.
        case corrupt
        /// The file belongs to another program, or to a newer version of this one.
        case foreign
        /// Reading or writing failed: a full disk, missing permissions.
        case unavailable
        /// What is asked for contradicts what is stored.
        case conflict
        /// The store holds as much of that as it may, see ``StoreLimits``.
        case full
        case notFound
        /// The join token is unknown, used, expired or bound to another node.
        case tokenRefused
    }

    /// One resource that cannot be stored beside what is there.
    package struct Conflict: Sendable, Hashable {
        package var key: ResourceKey
        /// Path of the field.
        package var path: String
        package var reason: String

        package init(key: ResourceKey, path: String, reason: String) {
            self.key = key
            self.path = path
            self.reason = reason
        }
    }

    package let code: Code
    package let message: String
    /// With the code `conflict`: what is in conflict, where a resource is.
    package let conflicts: [Conflict]

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
        self.conflicts = []
    }

    /// The code is `conflict`; there is at least one.
    package init(_ conflicts: [Conflict]) {
        self.code = .conflict
        self.message = conflicts.map { "\($0.key): \($0.path): \($0.reason)" }.joined(separator: "\n")
        self.conflicts = conflicts
    }

    package var description: String { self.message }

    /// Gives a database failure the operator's words; a `StoreError` passes unchanged.
    init(_ error: any Error, path: String) {
        switch error {
        case let error as StoreError:
            self = error
        case let error as DatabaseError where [.SQLITE_CORRUPT, .SQLITE_NOTADB].contains(error.resultCode):
            self.init(
                .corrupt,
                "\(path) is damaged (\(error.message ?? "no detail")): stop nodemesh-control, restore the data "
                    + "directory from a backup, or move the file away to begin with an empty store")
        case let error as DatabaseError where error.resultCode == .SQLITE_FULL:
            self.init(.unavailable, "the disk that holds \(path) is full")
        case let error as DatabaseError where error.resultCode == .SQLITE_CANTOPEN:
            self.init(.unavailable, "cannot open \(path): check that its directory exists and belongs to this user")
        case let error as DatabaseError where error.resultCode == .SQLITE_READONLY:
            self.init(.unavailable, "cannot write \(path): check the owner and mode of the file and its directory")
        case is CancellationError:
            self.init(.unavailable, "the request was abandoned before the store answered")
        default:
            self.init(.unavailable, "\(path): \(error)")
        }
    }
}

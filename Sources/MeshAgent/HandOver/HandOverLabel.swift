// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshDNS
import MeshLinux

/// What stands on a parcel with a data plane's state, for the daemon that opens it. Holds no secrets.
struct HandOverLabel: Codable, Sendable, Equatable {
    /// How the state came to be handed over.
    enum Kind: String, Codable, Sendable {
        /// The daemon was stopped, and its service manager keeps the state for the next run.
        case restart
        /// The other daemon was running.
        case takeOver = "take_over"
        /// The daemon ended without a word; what its service manager had of it.
        case crash
    }

    var kind: Kind
    /// ``HandOverFormat`` of the bytes.
    var format: Int
    /// Of the program that wrote it.
    var version: String
    var node: String
    var instance: String
    /// When relays stopped, in nanoseconds since the machine started: the same clock for both daemons.
    var frozenAt: UInt64
    var carried: Int
    var tunnels: Int
    var listeners: Int
    /// Connections that could not be handed over, by why.
    var drained: [String: Int]
    /// Of the sockets at which names are asked for; nil: there are none. A daemon that does not know them closes them.
    var names: Names?

    /// The last descriptors of the parcel, and what each is.
    struct Names: Codable, Sendable, Equatable {
        var count: Int
        /// ``CarriedNames/manifest``.
        var manifest: Data

        init?(_ names: CarriedNames?) {
            guard let names, !names.descriptors.isEmpty else { return nil }
            (self.count, self.manifest) = (names.descriptors.count, names.manifest)
        }
    }

    func encoded() -> [UInt8] { (try? JSONEncoder().encode(self)).map(Array.init) ?? [] }

    /// nil: it is no label, or one of another make.
    static func decode(_ bytes: [UInt8]) -> Self? { try? JSONDecoder().decode(Self.self, from: Data(bytes)) }
}

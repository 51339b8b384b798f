// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What this run of nodemeshd took over from the one before.
package struct HandOverStatus: Codable, Sendable, Hashable {
    /// `restart`, `take_over` or `crash`.
    package var kind: String
    package var at: Date
    /// Of the program that handed over.
    package var fromVersion: String
    /// Connections that went on.
    package var carried: Int
    /// Tunnels that waited for their next connection, at either end.
    package var tunnels: Int
    package var listeners: Int
    /// Connections that the former run ended before it handed over, by why.
    package var drained: [String: Int]
    /// Connections that came over and could not go on, by why.
    package var dropped: [String: Int]
    /// How long carried connections stood still.
    package var milliseconds: Double
    /// From when the former run stopped until new connections were accepted again; until then they waited.
    package var acceptedAfterMilliseconds: Double

    package init(
        kind: String, at: Date, fromVersion: String, carried: Int, tunnels: Int, listeners: Int, drained: [String: Int],
        dropped: [String: Int], milliseconds: Double, acceptedAfterMilliseconds: Double
    ) {
        self.kind = kind
        self.at = at
        self.fromVersion = fromVersion
        self.carried = carried
        self.tunnels = tunnels
        self.listeners = listeners
        self.drained = drained
        self.dropped = dropped
        self.milliseconds = milliseconds
        self.acceptedAfterMilliseconds = acceptedAfterMilliseconds
    }
}

// SPDX-License-Identifier: Apache-2.0

/// What went from one data plane to the next, and what could not: as the one that gives counts it, or the one that takes.
package struct HandOverSummary: Sendable, Equatable {
    /// Established connections.
    package var carried = 0
    /// Tunnels without a connection, of both directions.
    package var tunnels = 0
    /// Connections that were accepted and of which nothing was delivered yet: they begin anew.
    package var restarted = 0
    package var listeners = 0
    /// Connections and listeners that could not go on and were closed, by why.
    package var closed: [String: Int] = [:]

    package init() {}

    mutating func close(_ why: String) { self.closed[why, default: 0] += 1 }
}

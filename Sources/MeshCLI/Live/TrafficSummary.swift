// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI

/// What `top` shows: rates over a stretch of time.
struct TrafficSummary: Codable, Sendable {
    struct Loop: Codable, Sendable {
        var name: String
        /// Of one processor.
        var cpuPercent: Double
    }

    /// A client and a server that have connections on this node.
    struct Pair: Codable, Sendable {
        struct Key: Hashable, Sendable {
            var direction: String
            var source: String
            var destination: String
            var wire: String

            /// Workloads by name; others by address, without the port that the system chose.
            init(_ connection: ConnectionSummary) {
                self.direction = connection.direction
                self.source = connection.source ?? Self.host(of: connection.sourceAddress)
                self.destination = connection.destinationWorkload ?? connection.service ?? connection.destination
                self.wire = connection.wire
            }

            private static func host(of address: String) -> String {
                address.lastIndex(of: ":").map { String(address[..<$0]) } ?? address
            }
        }

        var direction: String
        var source: String
        var destination: String
        var wire: String
        var connections = 0
        /// By the client and by the server.
        var sentPerSecond = 0.0
        var receivedPerSecond = 0.0
        /// Of the connections that are open.
        var bytesSent: UInt64 = 0
        var bytesReceived: UInt64 = 0

        init(_ key: Key) {
            self.direction = key.direction
            self.source = key.source
            self.destination = key.destination
            self.wire = key.wire
        }
    }

    var node: String
    /// Between the two looks.
    var seconds: Double
    /// Of one processor, the whole daemon.
    var cpuPercent: Double
    var memoryBytes: UInt64
    var descriptors: Int
    var loops: [Loop]
    var pairs: [Pair]
}

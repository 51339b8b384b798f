// SPDX-License-Identifier: Apache-2.0

/// Counters of all loops since start, and present use of what is bounded.
package struct ProxyStatistics: Sendable, Hashable {
    package var accepted: UInt64 = 0
    package var refusedByLimit: UInt64 = 0
    package var connections = 0
    /// Tunnels without a connection.
    package var idleTunnels = 0
    /// Handshakes with certificates, and without.
    package var handshakesFull: UInt64 = 0
    package var handshakesResumed: UInt64 = 0
    /// Handshakes refused since too many of the same requester waited.
    package var handshakesShed: UInt64 = 0
    /// Connections that took a tunnel which stood ready; those whose tunnel turned out to have ended; tunnels made in
    /// advance.
    package var tunnelsReused: UInt64 = 0
    package var tunnelsStale: UInt64 = 0
    package var tunnelsPrepared: UInt64 = 0
    package var buffersLent = 0
    package var pipesLent = 0
    /// Turns of a loop that took more than a millisecond.
    package var slowTurns: UInt64 = 0
    package var turns: UInt64 = 0
    /// How long turns took, without the waiting for events.
    package var turnTimes = DurationBuckets()
    /// How long jobs waited until their loop began with them.
    package var jobDelays = DurationBuckets()
    /// Tunnels that went to the kernel, and those that were meant to and stayed in user space.
    package var kernelTunnels: UInt64 = 0
    package var kernelRefusals: UInt64 = 0

    package init() {}
}

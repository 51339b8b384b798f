// SPDX-License-Identifier: Apache-2.0

/// A workload's share of its node's proxy, in both directions together. nil: no limit. Rates are token buckets that
/// hold one second's worth.
package struct WorkloadLimits: Hashable, Sendable {
    /// New connections per second.
    package var connectionsPerSecond: UInt32?
    /// TLS handshakes per second.
    package var handshakesPerSecond: UInt32?
    /// Connections open at one time.
    package var maxConnections: UInt32?
    /// Payload bytes per second; a connection that would exceed it waits.
    package var bytesPerSecond: UInt64?

    package init(
        connectionsPerSecond: UInt32? = nil, handshakesPerSecond: UInt32? = nil, maxConnections: UInt32? = nil,
        bytesPerSecond: UInt64? = nil
    ) {
        self.connectionsPerSecond = connectionsPerSecond
        self.handshakesPerSecond = handshakesPerSecond
        self.maxConnections = maxConnections
        self.bytesPerSecond = bytesPerSecond
    }
}

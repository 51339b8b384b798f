// SPDX-License-Identifier: Apache-2.0

/// The TCP ports of the mesh; the numbers are those of the ambient ecosystem.
package enum MeshPorts {
    /// Captured outbound connections, on loopback inside a workload's network namespace.
    package static let outbound: UInt16 = 15001
    /// Captured inbound plaintext connections, inside a workload's network namespace.
    package static let inbound: UInt16 = 15006
    /// Tunnels between nodes.
    package static let tunnel: UInt16 = 15008
    /// The control plane's gRPC for nodes.
    package static let controlGRPC: UInt16 = 15012
    /// The control plane's metrics.
    package static let controlMetrics: UInt16 = 15014
    /// Names, on loopback inside a workload's network namespace; over UDP also at the two ports behind it.
    package static let names: UInt16 = 15053
    /// A node's metrics.
    package static let metrics: UInt16 = 15020
    /// A node's readiness.
    package static let readiness: UInt16 = 15021
    /// The control plane's REST for operators.
    package static let controlREST: UInt16 = 15080

    /// A port that belongs to the mesh at every workload's and service's address. A captured connection to it would
    /// reach a proxy instead of an application, so it is refused.
    package static func isReserved(_ port: UInt16) -> Bool {
        port == Self.outbound || port == Self.inbound || port == Self.tunnel
    }
}

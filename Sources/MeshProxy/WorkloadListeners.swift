// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// Where the captured connections of one namespace's workloads are accepted.
package struct WorkloadListeners: Sendable {
    /// The outbound capture listener; the real port when the configured one was 0.
    package let outbound: SocketAddress
    /// The same for IPv6; nil: the namespace has no IPv6, so no connect can be sent there.
    package let outbound6: SocketAddress?
    /// Both families at `::`, or IPv4 alone where the namespace has no IPv6.
    package let inbound: SocketAddress
    /// The inbound listeners, one per loop, all on one address. Borrowed: never close them.
    package let inboundDescriptors: [CInt]
    /// The outbound listeners of both families, likewise.
    package let outboundDescriptors: [CInt]

    /// Whether IPv6 connections are taken in both directions.
    package var hasIPv6: Bool { self.outbound6 != nil && !self.inbound.ip.isIPv4 }
}

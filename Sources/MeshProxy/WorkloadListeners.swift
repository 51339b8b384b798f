// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// Where a workload's captured connections are accepted.
package struct WorkloadListeners: Sendable {
    /// The outbound capture listener; the real port when the configured one was 0.
    package let outbound: SocketAddress
    package let inbound: SocketAddress
    /// The inbound listeners, one per loop, all on one address. Borrowed: never close them.
    package let inboundDescriptors: [CInt]
    /// The outbound listeners, likewise.
    package let outboundDescriptors: [CInt]
}

// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel

/// Something the eBPF programs decided: a refusal, a connection left alone inside the mesh, a loss, or the beginning or end
/// of a connection without the proxy.
package struct SteeringEvent: Sendable, Hashable {
    package enum Kind: String, Sendable {
        case decision
        case directOpened
        case directClosed
    }

    /// How a direct connection ended, as its client's socket saw it: `NM_CLOSE_*` by number.
    package enum Close: String, Sendable, CaseIterable {
        case none
        /// Both ends finished, the client first.
        case client
        /// Both ends finished, the server first.
        case server
        case clientReset = "client_reset"
        /// Never established: the server's host refused it.
        case refused
        case serverReset = "server_reset"
        /// Never established, or not acknowledged any more.
        case timedOut = "timed_out"
        /// Ended from outside, as nodemeshd does it.
        case destroyed
    }

    /// Nanoseconds since the Unix epoch.
    package var time: UInt64
    package var kind: Kind
    package var reason: Reason
    /// ``Enrolment/key`` of the workload whose programs decided; of a direct connection: the client's. 0 if unknown.
    package var workloadKey: UInt32
    /// Of a direct connection: the server's key, 0 if unknown.
    package var targetKey: UInt32
    /// Nil where the kernel has not chosen it yet.
    package var source: SocketAddress?
    /// What was dialled.
    package var destination: SocketAddress?
    /// Of a direct connection: the server.
    package var upstream: SocketAddress?
    package var close: Close
    /// Cookie of the server's network namespace, 0 if unknown.
    package var netns: UInt64
    /// Cookie of the client's socket, 0 if unknown.
    package var cookie: UInt64
    /// Of a direct connection that ended: nanoseconds and bytes, as the client sees them.
    package var duration: UInt64
    package var bytesSent: UInt64
    package var bytesReceived: UInt64

    /// Nil for numbers that this build does not know.
    init?(_ event: nm_event, wallMinusMonotonic: UInt64) {
        guard let reason = Reason(rawValue: event.reason) else { return nil }
        switch event.type {
        case UInt32(NM_EVENT_DECISION): self.kind = .decision
        case UInt32(NM_EVENT_DIRECT_OPENED): self.kind = .directOpened
        case UInt32(NM_EVENT_DIRECT_CLOSED): self.kind = .directClosed
        default: return nil
        }
        guard event.close < UInt32(Close.allCases.count) else { return nil }
        self.close = Close.allCases[Int(event.close)]
        self.time = event.time &+ wallMinusMonotonic
        self.reason = reason
        self.workloadKey = event.workload
        self.targetKey = event.target
        self.source = Self.address(event.source)
        self.destination = Self.address(event.destination)
        self.upstream = Self.address(event.upstream)
        self.netns = event.netns
        self.cookie = event.cookie
        self.duration = event.duration
        self.bytesSent = event.bytes_sent
        self.bytesReceived = event.bytes_received
    }

    private static func address(_ endpoint: nm_endpoint) -> SocketAddress? {
        let address = endpoint.socketAddress
        return address.port == 0 && address.ip.isUnspecified ? nil : address
    }
}

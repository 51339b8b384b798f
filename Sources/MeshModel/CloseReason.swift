// SPDX-License-Identifier: Apache-2.0

/// Why a connection ended or never began. Every connection has exactly one; the same word stands in the metric, the
/// access log and `nodemeshctl`.
package enum CloseReason: String, Sendable, Hashable, CaseIterable {
    /// Both directions ended with FIN.
    case completed
    /// The application on the client's side reset the connection.
    case clientReset = "client_reset"
    /// The application on the server's side reset the connection.
    case serverReset = "server_reset"
    /// The peer node's tunnel broke without an orderly end.
    case tunnelReset = "tunnel_reset"
    /// A policy denied it.
    case policyDenied = "policy_denied"
    /// No service, workload or rule for a destination inside the mesh prefixes.
    case unknownDestination = "unknown_destination"
    /// The service has no healthy endpoint.
    case noHealthyEndpoint = "no_healthy_endpoint"
    /// The server's application or node refused the connection.
    case connectRefused = "connect_refused"
    /// The connection was not made in time.
    case connectTimeout = "connect_timeout"
    /// No route, or another failure of connect(2).
    case connectFailed = "connect_failed"
    /// The TLS handshake failed.
    case tlsFailed = "tls_failed"
    /// The peer proved another identity than the expected one.
    case identityMismatch = "identity_mismatch"
    /// The view of the mesh is older than it may be to decide by it.
    case staleView = "stale_view"
    /// No certificate for the local workload yet, or only one that has expired.
    case identityUnavailable = "identity_unavailable"
    /// The peer broke the tunnel protocol.
    case protocolError = "protocol_error"
    /// A captured connection to one of the mesh's own ports.
    case selfCall = "self_call"
    /// The kernel has no record of where the connection was going.
    case originalDestinationMissing = "original_destination_missing"
    /// A limit of this node was reached.
    case resourceExhausted = "resource_exhausted"
    /// A declared limit of the workload or of its destination was reached.
    case limitExceeded = "limit_exceeded"
    /// An accelerated connection's receiver left more unread than the cap allows.
    case sockmapStalled = "sockmap_stalled"
    /// Nothing moved for too long.
    case idleTimeout = "idle_timeout"
    /// The workload was unenrolled or vanished.
    case workloadGone = "workload_gone"
    /// The daemon stopped.
    case shutdown
    /// A connection past the proxy ended while nobody looked, so how is not known.
    case endUnseen = "end_unseen"
}

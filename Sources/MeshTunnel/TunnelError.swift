// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// Why a tunnel did not come up or broke.
package struct TunnelError: Error, Equatable, Sendable, CustomStringConvertible {
    package enum Code: String, Sendable, Hashable, CaseIterable {
        /// A PEM text of ours cannot be used.
        case invalidIdentity
        /// The TLS handshake failed, on our judgement or the peer's.
        case handshakeFailed
        /// The chain was good; the identity is not the expected one.
        case identityMismatch
        /// No workload of this node has the name that the client asked for.
        case unknownServerName
        /// The peer sent something that TLS or the tunnel protocol does not allow.
        case protocolViolation
        /// A record could not be authenticated.
        case recordForged
        /// The peer sent a fatal alert.
        case alert
        /// The stream ended without close_notify.
        case truncated
        /// Too many bytes under one key.
        case keyExhausted
    }

    package let code: Code
    /// For the operator: what happened and what to check.
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }

    /// The word under which a connection that ends for this is counted.
    package var closeReason: CloseReason {
        switch self.code {
        case .invalidIdentity: .identityUnavailable
        case .handshakeFailed, .alert: .tlsFailed
        case .identityMismatch: .identityMismatch
        case .unknownServerName: .unknownDestination
        case .protocolViolation, .recordForged: .protocolError
        case .truncated, .keyExhausted: .tunnelReset
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// What went wrong between this node and its control plane.
package struct ControlPlaneError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Code: String, Sendable, Hashable, CaseIterable {
        /// The node has an identity already.
        case alreadyJoined
        /// The node has no identity, and nothing to join with.
        case notJoined
        /// The join token is used up, expired, for another node or unknown.
        case tokenRefused
        /// The node's certificate has ended.
        case expired
        /// The server cannot prove that it is the control plane.
        case untrustedServer
        /// No connection, or it broke.
        case unreachable
        /// The control plane understood and declined.
        case refused
        /// The control plane answered what it must not.
        case badAnswer
        /// Its store is older than what this node has seen of it.
        case rolledBack
        /// Credentials could not be kept in the data directory, or what is kept there is unusable.
        case storage
    }

    package let code: Code
    /// What the operator should check.
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }

    /// Whether the same request may have another outcome later, with nobody doing anything about this node.
    package var isTransient: Bool { self.code == .unreachable }

    package static func == (left: Self, right: Self) -> Bool { left.code == right.code }
    package func hash(into hasher: inout Hasher) { hasher.combine(self.code) }
}

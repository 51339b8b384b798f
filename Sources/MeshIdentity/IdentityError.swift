// SPDX-License-Identifier: Apache-2.0

/// A key, a certificate or a request for one was refused.
package struct IdentityError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Code: String, Sendable, Hashable {
        /// The text is not PEM of the expected kind, or its content does not parse.
        case malformed
        /// A key of another kind than EC P-256.
        case unsupportedKey
        /// A key that is not the one a certificate or request speaks of.
        case keyMismatch
        /// A signing request whose signature its own key did not make.
        case badSignature
        /// Names in a certificate or request other than the expected ones.
        case wrongNames
        /// Not yet, or no longer valid, or an impossible validity was asked for.
        case badValidity
        /// A certificate that may not sign others, or leads to no trusted root.
        case untrusted
        /// The cryptographic library failed.
        case internalFailure
    }

    package let code: Code
    /// One sentence for the operator.
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }

    package static func == (left: Self, right: Self) -> Bool { left.code == right.code }
    package func hash(into hasher: inout Hasher) { hasher.combine(self.code) }
}

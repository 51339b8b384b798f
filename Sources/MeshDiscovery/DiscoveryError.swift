// SPDX-License-Identifier: Apache-2.0

/// The other side of a discovery stream broke the protocol; the stream must end.
package struct DiscoveryError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Code: String, Sendable, Hashable {
        /// A bound of ``DiscoveryLimits`` was passed.
        case limitExceeded
        /// A message that has no place in the stream's present state.
        case unexpected
        /// The server's store is older than what this client has seen of it.
        case rolledBack
    }

    package let code: Code
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }

    package static func == (left: Self, right: Self) -> Bool { left.code == right.code }
    package func hash(into hasher: inout Hasher) { hasher.combine(self.code) }
}

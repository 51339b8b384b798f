// SPDX-License-Identifier: Apache-2.0

/// The proxy could not do what the daemon asked of it.
package struct ProxyError: Error, Equatable, Sendable, CustomStringConvertible {
    /// For the operator.
    package let message: String

    package init(_ message: String) { self.message = message }

    package var description: String { self.message }
}

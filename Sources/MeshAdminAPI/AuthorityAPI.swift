// SPDX-License-Identifier: Apache-2.0

import Foundation

/// `GET /v1/ca/status` of the control plane, and the answer to each step of a rotation: `POST /v1/ca/rotate`,
/// `/v1/ca/cancel`, `/v1/ca/activate` and `/v1/ca/retire`, the last two with `?force=true`.
package struct AuthorityStatus: Codable, Sendable, Hashable {
    package struct Root: Codable, Sendable, Hashable {
        /// `sha256:<hex>`.
        package var fingerprint: String
        /// `active`: it signs; `next`: it will; `old`: it did, and is still trusted.
        package var state: String
        package var notBefore: Date
        package var notAfter: Date

        package init(fingerprint: String, state: String, notBefore: Date, notAfter: Date) {
            self.fingerprint = fingerprint
            self.state = state
            self.notBefore = notBefore
            self.notAfter = notAfter
        }
    }

    /// A node for which the next step waits.
    package struct Waiting: Codable, Sendable, Hashable {
        package var node: String
        package var isAlive: Bool
        package var reason: String

        package init(node: String, isAlive: Bool, reason: String) {
            self.node = node
            self.isAlive = isAlive
            self.reason = reason
        }
    }

    /// `steady`, `adding` (nodes learn to trust the next root) or `switched` (certificates under the old one are
    /// renewed).
    package var phase: String
    package var roots: [Root]
    package var waiting: [Waiting]

    package init(phase: String, roots: [Root], waiting: [Waiting]) {
        self.phase = phase
        self.roots = roots
        self.waiting = waiting
    }
}

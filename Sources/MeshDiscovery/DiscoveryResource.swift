// SPDX-License-Identifier: Apache-2.0

import Crypto
import Foundation

/// One resource as it stands on the wire.
package struct DiscoveryResource: Sendable, Hashable {
    package let name: String
    /// Changes exactly when the content does, and is the same on every server that holds the same content, so that a
    /// client that reconnects elsewhere is sent only what differs.
    package let version: String
    /// The encoded message, without the `Any` around it.
    package let payload: Data
    /// Further names, such as `/10.0.0.1`.
    package let aliases: [String]

    package init(name: String, payload: Data, aliases: [String] = []) {
        self.name = name
        self.payload = payload
        self.aliases = aliases
        self.version = SHA256.hash(data: payload).prefix(16).map { byte in
            let text = String(byte, radix: 16)
            return byte < 16 ? "0" + text : text
        }.joined()
    }
}

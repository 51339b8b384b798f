// SPDX-License-Identifier: Apache-2.0

/// Why the daemon cannot start or go on; the message says what to change.
package struct AgentError: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}

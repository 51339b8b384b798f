// SPDX-License-Identifier: Apache-2.0

import Foundation

/// How the connection to the control plane is.
package struct ControlPlaneStatus: Sendable, Hashable {
    /// The discovery stream is open and has answered.
    package var isConnected: Bool
    /// When the control plane last said anything; nil: never.
    package var lastConfirmed: Date?
    /// Why it is not connected, or what else went wrong last; nil since the last success.
    package var lastError: String?
    /// Its store is older than what this node has seen, so that what it says of the mesh is refused.
    package var isRolledBack: Bool

    package init(
        isConnected: Bool = false, lastConfirmed: Date? = nil, lastError: String? = nil, isRolledBack: Bool = false
    ) {
        self.isRolledBack = isRolledBack
        self.isConnected = isConnected
        self.lastConfirmed = lastConfirmed
        self.lastError = lastError
    }
}

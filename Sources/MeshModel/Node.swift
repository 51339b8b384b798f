// SPDX-License-Identifier: Apache-2.0

/// Where peers dial a node's tunnels.
package struct Node: Hashable, Sendable {
    package var name: String
    package var addresses: [IPAddress]
    package var tunnelPort: UInt16

    package init(name: String, addresses: [IPAddress], tunnelPort: UInt16) {
        self.name = name
        self.addresses = addresses
        self.tunnelPort = tunnelPort
    }
}

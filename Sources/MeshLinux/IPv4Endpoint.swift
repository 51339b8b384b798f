// SPDX-License-Identifier: Apache-2.0

/// An IPv4 address and a port, both in host order, as the socket calls take them.
package struct IPv4Endpoint: Hashable, Sendable {
    package var address: UInt32
    package var port: UInt16

    package init(address: UInt32, port: UInt16) {
        self.address = address
        self.port = port
    }

    /// 127.0.0.1.
    package static func loopback(port: UInt16) -> Self { Self(address: 0x7f00_0001, port: port) }

    /// 0.0.0.0.
    package static func any(port: UInt16) -> Self { Self(address: 0, port: port) }
}

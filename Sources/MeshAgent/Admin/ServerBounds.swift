// SPDX-License-Identifier: Apache-2.0

import Hummingbird
import HummingbirdCore
import NIOCore

/// What the daemon's HTTP servers take at one time. Beyond it nothing is accepted until a connection ends; those that
/// wait are the kernel's.
enum ServerBounds {
    /// Those who follow events stay, see ``EventHub``.
    static let admin = 128
    /// Of the metrics' port and of the readiness port each, which anybody may dial.
    static let probes = 64
    /// How long such a connection may be silent.
    static let probeIdle = TimeAmount.seconds(30)

    static func configuration(_ address: BindAddress, connections: Int) -> ApplicationConfiguration {
        .init(
            address: address, serverName: nil,
            availableConnectionsDelegate: MaximumAvailableConnections(connections))
    }

    static var probeServer: HTTPServerBuilder { .http1(configuration: .init(idleTimeout: Self.probeIdle)) }
}

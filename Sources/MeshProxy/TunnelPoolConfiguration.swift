// SPDX-License-Identifier: Apache-2.0

/// How tunnels are kept between connections.
package struct TunnelPoolConfiguration: Sendable {
    /// A tunnel carries one connection after the other, where both nodes can do that. Otherwise each connection makes
    /// its own.
    package var isReused = true
    /// To a destination that connections go to more than once, a tunnel is made in advance when none stands ready.
    package var makesSpare = true
    /// Tunnels without a connection that are kept per source and destination workload.
    package var maxIdlePerDestination = 64
    /// Tunnels without a connection, of both directions, that a loop keeps.
    package var maxIdle = 1024
    /// How long one may wait for its next connection.
    package var idleTimeout: Duration = .seconds(60)
    /// Destinations of which a loop keeps a session to resume.
    package var maxDestinations = 4096

    package init() {}
}

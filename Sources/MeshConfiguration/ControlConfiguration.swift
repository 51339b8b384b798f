// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// What an operator can set, after validation. Every value has its default.
package struct ControlConfiguration: Equatable, Sendable {
    /// Everything that has to survive lies here.
    package var dataDirectory = "/var/lib/nodemesh-control"
    /// Where nodes connect.
    package var grpcListen = SocketAddress(ip: IPAddress(ipv4: 0), port: MeshPorts.controlGRPC)
    /// Where operators connect; plain HTTP on loopback, TLS elsewhere.
    package var apiListen = SocketAddress(ip: IPAddress(ipv4: 0x7f00_0001), port: MeshPorts.controlREST)
    package var metricsListen = SocketAddress(ip: IPAddress(ipv4: 0x7f00_0001), port: MeshPorts.controlMetrics)
    /// HOST:PORT that nodes should dial, the best first; empty: the host's name and the port of `grpcListen`.
    package var advertise: [HostPort] = []
    /// Beside the range of virtual addresses.
    package var meshPrefixes: [IPPrefix] = []
    package var trustDomain = "mesh.internal"
    /// Seconds without a heartbeat until a node's workloads count as unhealthy.
    package var nodeTimeout = 30
    /// Seconds that certificates of workloads are valid.
    package var svidTTL = 86_400
    /// Seconds that certificates of nodes are valid.
    package var nodeTTL = 7 * 86_400
    /// Seconds: nodes whose view was not confirmed for longer refuse new connections; 0: never.
    package var maxStaleness = 0
    package var logLevel = LogLevel.info

    package init() {}
}

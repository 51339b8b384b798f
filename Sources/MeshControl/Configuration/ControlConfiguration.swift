// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// What an operator can set, after validation. Every value has its default.
package struct ControlConfiguration: Equatable, Sendable {
    package enum LogLevel: String, CaseIterable, Sendable { case trace, debug, info, notice, warning, error }

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
    /// Seconds that certificates of workloads and nodes are valid.
    package var svidTTL = 86_400
    package var logLevel = LogLevel.info

    package init() {}
}

/// A host to dial: a name or an IP address, and a port.
package struct HostPort: Equatable, Sendable, LosslessStringConvertible {
    package let host: String
    package let port: UInt16

    package init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    package init?(_ text: String) {
        if let address = SocketAddress(text) {
            self.init(host: address.ip.description, port: address.port)
            return
        }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let port = UInt16(parts[1]), port != 0, (1...253).contains(parts[0].utf8.count),
            parts[0].utf8.allSatisfy({ byte in
                (97...122).contains(byte) || (65...90).contains(byte) || (48...57).contains(byte)
                    || byte == 45 || byte == 46
            }), parts[0].first != "-", parts[0].first != "."
        else { return nil }
        self.init(host: String(parts[0]), port: port)
    }

    package var description: String {
        self.host.contains(":") ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)"
    }
}

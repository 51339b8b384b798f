// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// How the data plane of one node works. Most is decided at start; for the rest see ``Proxy/reconfigure(_:)``.
package struct ProxyConfiguration: Sendable {
    /// What happens to a captured connection inside the mesh prefixes that nothing resolves.
    package enum UnknownDestination: String, Sendable, Hashable, CaseIterable {
        /// The client sees a reset.
        case refuse
        /// It goes on in plain text from the workload's own namespace.
        case passthrough
    }

    /// Which implementation seals and opens records.
    package enum AEAD: String, Sendable, Hashable, CaseIterable {
        /// The fastest that passes its test at start.
        case automatic
        /// OpenSSL's, always there.
        case openssl
        /// Intel's multi-buffer library, if it is installed.
        case ipsecmb
    }

    /// Which engine seals and opens the records of tunnels to nodes of our own making; others always get the first.
    package enum Engine: String, Sendable, Hashable, CaseIterable {
        /// The kernel if it passes its test at start and is clearly faster.
        case automatic
        /// Records are made in this process.
        case user
        /// Kernel TLS; the proxy does not start where it does not work.
        case kernel
    }

    /// Event loops, each one thread; at least 1.
    package var loops: Int
    /// Where peers dial tunnels, in the process's own network namespace; nil: none are accepted. Port 0 takes any
    /// (see ``Proxy/tunnelEndpoint``).
    package var tunnelListener: SocketAddress?
    /// The capture listeners inside each network namespace that has workloads. `::` takes both families, and becomes
    /// 0.0.0.0 where there is no IPv6; the IPv6 one of outbound captures is left out there.
    package var outboundListener = SocketAddress(ip: IPAddress(ipv4: 0x7f00_0001), port: MeshPorts.outbound)
    package var outboundListener6: SocketAddress? = SocketAddress(
        ip: IPAddress(high: 0, low: 1), port: MeshPorts.outbound)
    package var inboundListener = SocketAddress(ip: IPAddress(high: 0, low: 0), port: MeshPorts.inbound)
    package var unknownDestination = UnknownDestination.refuse
    package var aead = AEAD.automatic
    /// Threads that do the arithmetic of TLS handshakes; at least 1.
    package var handshakeThreads = 1
    package var tunnelPool = TunnelPoolConfiguration()
    package var engine = Engine.automatic
    /// Connections at one time; nil: as many as the descriptor limit allows.
    package var maxConnections: Int?

    /// Time for connect(2) to a peer node or an application.
    package var connectTimeout: Duration = .seconds(5)
    /// Time for a TLS handshake and the answer to CONNECT.
    package var handshakeTimeout: Duration = .seconds(10)
    /// How long a connection waits for the certificate of its local workload.
    package var identityTimeout: Duration = .seconds(5)
    /// How long a connection may stay half closed with nothing moving.
    package var halfClosedTimeout: Duration = .seconds(300)
    /// How long nothing may move at all; nil: for ever.
    package var idleTimeout: Duration?
    /// Further endpoints tried when one cannot be reached and nothing was delivered.
    package var extraAttempts = 2

    /// TCP keepalive on both legs: silence before the first probe, between probes, and unanswered probes.
    package var keepAliveIdle: Duration = .seconds(60)
    package var keepAliveInterval: Duration = .seconds(10)
    package var keepAliveProbes = 3
    /// How long sent data may stay unacknowledged (TCP_USER_TIMEOUT).
    package var userTimeout: Duration = .seconds(90)

    /// Bytes sealed or opened per turn of one connection, in whole records of 16 KiB.
    package var batchSize = 256 << 10
    /// Size of the pipes through which plain bytes are spliced.
    package var pipeSize = 1 << 20
    /// Buffers and pipes lent out at one time, per loop; beyond it connections move less at a time.
    package var lentBuffersPerLoop = 256
    package var lentPipesPerLoop = 32
    /// How many of them one workload may have.
    package var lentBuffersPerWorkload = 128
    package var lentPipesPerWorkload = 16

    /// How long a connection has relayed before it is worth keeping for the case that this process dies.
    package var keepAge: Duration = .seconds(1)

    /// Further attempts at other endpoints per hundred connections to services, and those that each loop may make in a
    /// second in any case.
    package var retryPercent = 20
    package var retriesPerSecond = 10

    /// The share of connections to other nodes whose trace is marked as sampled, from 0 to 1.
    package var traceSampling = 0.0

    package init(loops: Int, tunnelListener: SocketAddress?) {
        self.loops = max(1, loops)
        self.tunnelListener = tunnelListener
    }
}

// SPDX-License-Identifier: Apache-2.0
import Logging
import MeshLinux
import MeshModel
import MeshTunnel
import Synchronization

/// What all loops of a proxy share: fixed values, and two counters.
final class LoopSettings: Sendable {
    let configuration: ProxyConfiguration
    let hooks: ProxyHooks
    let logger: Logger
    let acceptor: TunnelAcceptor
    let aead: AEADProvider
    let workers: HandshakeWorkers
    let engine: EngineChoice
    /// The process's own; sockets to peers are made here.
    let hostNamespace: NetworkNamespace
    /// As many as there are descriptors for.
    let maxConnections: Int
    let traffic: TrafficControl
    /// Live connections of all loops.
    let connectionCount = Atomic<Int>(0)
    private let lastID: Atomic<UInt64>

    init(
        configuration: ProxyConfiguration, hooks: ProxyHooks, logger: Logger, acceptor: TunnelAcceptor,
        aead: AEADProvider, engine: EngineChoice, workers: HandshakeWorkers, hostNamespace: NetworkNamespace,
        maxConnections: Int, traffic: TrafficControl, lastID: UInt64 = 0
    ) {
        self.configuration = configuration
        self.hooks = hooks
        self.logger = logger
        self.acceptor = acceptor
        self.aead = aead
        self.workers = workers
        self.engine = engine
        self.hostNamespace = hostNamespace
        self.maxConnections = maxConnections
        self.traffic = traffic
        self.lastID = Atomic(lastID)
    }

    /// The number that was given last.
    var currentID: UInt64 { self.lastID.load(ordering: .relaxed) }

    func nextID() -> UInt64 { self.lastID.add(1, ordering: .relaxed).newValue }
}

extension Duration {
    /// Whole nanoseconds, not negative.
    var nanoseconds: UInt64 {
        let (seconds, attoseconds) = self.components
        if seconds < 0 { return 0 }
        return UInt64(seconds) &* 1_000_000_000 &+ UInt64(max(0, attoseconds) / 1_000_000_000)
    }
}

extension SocketAddress {
    init(_ endpoint: Endpoint) {
        self.init(ip: IPAddress(high: endpoint.high, low: endpoint.low), port: endpoint.port)
    }
}

extension Endpoint {
    init(_ address: SocketAddress, scope: UInt32 = 0) {
        self.init(high: address.ip.high, low: address.ip.low, port: address.port, scope: scope)
    }
}

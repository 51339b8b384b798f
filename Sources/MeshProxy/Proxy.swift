// SPDX-License-Identifier: Apache-2.0
import Glibc
import Logging
import MeshLinux
import MeshModel
import MeshTunnel
import Synchronization

/// The data plane of one node: event loops that carry captured connections to local workloads, through tunnels to
/// other nodes, and out of tunnels to local workloads.
package final class Proxy: Sendable {
    let configuration: ProxyConfiguration
    private let hooks: ProxyHooks
    private let logger: Logger
    private let traffic = TrafficControl()
    var carriedEjections: [CarriedEjection] { self.traffic.endpoints.carried(now: Clock.monotonic) }
    let state = Mutex(State())
    /// Held while listeners are opened or given up, so that two workloads of one namespace cannot both be its first.
    let attaching = Mutex(())
    private let recent = Mutex(ProxyStatistics())
    private let choice = Mutex<Choice?>(nil)

    struct State {
        var loops: [EventLoop] = []
        var tunnels: [Listener] = []
        /// The process's own namespace.
        var hostInode: UInt64 = 0
        /// Listeners of the namespaces that have workloads, by inode.
        var namespaces: [UInt64: OpenNamespace] = [:]
        /// The attached workloads.
        var members: [WorkloadID: LocalWorkload] = [:]
        var isStopped = false
        var workers: HandshakeWorkers?
        /// Namespaces of another data plane of which no workload is attached yet.
        var adopted: [UInt64: CarriedNamespace] = [:]
        var isAcceptingTunnels = false
    }

    struct OpenNamespace {
        /// One list per kind, each with one listener per loop, or more.
        var listeners: [[Listener]]
        var addresses: WorkloadListeners
        var cookie: UInt64
        var hasOutbound6: Bool
        /// Another data plane's workloads that are not attached again yet.
        var awaited: Set<WorkloadID> = []
        var isAccepting = true
    }

    package init(configuration: ProxyConfiguration, hooks: ProxyHooks, logger: Logger) {
        self.configuration = configuration
        self.hooks = hooks
        self.logger = logger
    }

    /// Where peers dial; the port is the real one when the configured one was 0. nil before ``start()``.
    package var tunnelEndpoint: SocketAddress? { self.state.withLock { $0.tunnels.first?.address } }

    var loops: [EventLoop] { self.state.withLock { $0.loops } }

    /// Opens the tunnel listener and starts the loops. They know nothing until ``update(_:)``.
    package func start() throws(ProxyError) { try self.start(adopting: nil) }

    /// As ``start()``, and goes on with another data plane's state. Established connections move bytes at once; listeners
    /// and what still has to begin wait for ``attach(_:key:namespace:isShared:)`` and ``adoptionComplete()``.
    ///
    /// - Parameter willRun: called when nothing but running is left to do, with a state of the listeners alone. Until then
    ///   the former data plane's state can be started from again, afterwards it is out of date.
    /// - Returns: what was taken over, and what of it had to be closed since it could not be read.
    @discardableResult
    package func start(
        adopting state: consuming ProxyState?, willRun: (borrowing ProxyState) -> Void = { _ in }
    ) throws(ProxyError) -> HandOverSummary {
        var summary = HandOverSummary()
        let isAdopting = state != nil
        let carried = if let state { CarriedState(state, &summary) } else { CarriedState() }
        do {
            let descriptors = ProcessLimits.raiseDescriptorLimit()
            let choice = try self.choose()
            let (aead, engine) = (choice.aead, choice.engine)
            var configuration = self.configuration
            if !engine.allowsReuse { configuration.tunnelPool.isReused = false }
            // Two sockets per connection, and a tenth for pipes, listeners and everything else the daemon opens.
            let derived = max(64, descriptors * 9 / 20)
            let workers = HandshakeWorkers()
            let settings = LoopSettings(
                configuration: configuration, hooks: self.hooks, logger: self.logger,
                acceptor: try TunnelAcceptor(), aead: aead, engine: engine, workers: workers,
                hostNamespace: try .ofProcess(),
                maxConnections: derived, traffic: self.traffic, lastID: carried.lastID)
            var tunnels: [Listener] = []
            if let address = self.configuration.tunnelListener {
                if let first = carried.tunnels.first, Self.serves(first.address, address) {
                    tunnels = carried.tunnels + self.further(like: first, have: carried.tunnels.count)
                } else {
                    tunnels = try self.openListeners(.tunnel, at: address)
                }
            }
            let loops = try (0..<self.configuration.loops).map { _ in try EventLoop(settings) }
            self.traffic.endpoints.adopt(carried.ejections)
            for (index, connection) in carried.connections.enumerated() {
                loops[index % loops.count].submit { $0.adopt(connection) }
            }
            try workers.start(threads: self.configuration.handshakeThreads)
            if isAdopting { willRun(Self.listeners(carried, tunnels)) }
            for (index, loop) in loops.enumerated() { try loop.start(name: "nm-loop-\(index)") }
            self.state.withLock { state in
                state.loops = loops
                state.workers = workers
                state.tunnels = tunnels
                state.hostInode = settings.hostNamespace.inode
                for namespace in carried.namespaces { state.adopted[namespace.inode] = namespace }
            }
            if !isAdopting { self.beginAcceptingTunnels() }
            self.logger.info(
                "data plane started",
                metadata: [
                    "loops": "\(loops.count)", "aead": "\(settings.aead.name)", "aead.why": "\(choice.why)",
                    "engine": "\(engine.engine.rawValue)", "engine.why": "\(engine.why)",
                    "max.connections": "\(min(configuration.maxConnections ?? derived, derived))",
                ])
        } catch {
            throw ProxyError("the data plane cannot start: \(error)")
        }
        return summary
    }

    /// Measures on a thread of its own what ``prepare()`` will ask, so that something else can be done meanwhile.
    package static func beginMeasuring(_ configuration: ProxyConfiguration) {
        guard case .automatic = configuration.aead else { return }
        // Without the thread it is measured later.
        try? OSThread(name: "nm-measure") { _ = AEADProvider.fastest() }.detach()
    }

    /// What depends on this machine's speed.
    private struct Choice {
        var aead: AEADProvider
        var why: String
        var engine: EngineChoice
    }

    /// Finds out which library and which engine this machine is fastest with, which ``start()`` does otherwise: for who is
    /// about to take another data plane's connections and must not keep them waiting.
    package func prepare() throws(ProxyError) { _ = try self.choose() }

    private func choose() throws(ProxyError) -> Choice {
        if let known = self.choice.withLock({ $0 }) { return known }
        let (aead, why) = try self.chooseAEAD()
        let choice = Choice(
            aead: aead, why: why, engine: try EngineChoice.make(self.configuration.engine, aead: aead))
        self.choice.withLock { $0 = choice }
        return choice
    }

    private func chooseAEAD() throws(ProxyError) -> (AEADProvider, String) {
        switch self.configuration.aead {
        case .automatic: return AEADProvider.fastest()
        case .openssl: return (.openSSL, "configured")
        case .ipsecmb:
            if let failure = AEADProvider.ipsecMBFailure() { throw ProxyError("aead ipsecmb: \(failure)") }
            return (.ipsecMB, "configured")
        }
    }

    /// Closes every connection with reason `shutdown` and ends the loops. Blocks until they have ended.
    package func stop() {
        let (loops, workers) = self.state.withLock { state in
            defer { state = State(isStopped: true) }
            return (state.loops, state.workers)
        }
        for loop in loops { loop.submit { $0.stop() } }
        for loop in loops { loop.join() }
        workers?.stop()
    }

    /// Replaces what the loops decide by, and closes connections that are now denied.
    package func update(_ view: ProxyView) {
        self.traffic.endpoints.prune(view.snapshot)
        for loop in self.state.withLock({ $0.loops }) { loop.submit { $0.update(view) } }
    }

    /// New connections are refused with reason `stale_view` from now on; with nil they are accepted again. Those that are
    /// open go on.
    package func setStaleness(_ reason: String?) {
        for loop in self.loops { loop.submit { $0.staleness = reason } }
    }

    /// Has what may change while it runs take effect: time-outs, the keeping of tunnels, the bound of connections, and
    /// what becomes of unknown destinations.
    package func reconfigure(_ configuration: ProxyConfiguration) {
        for loop in self.loops { loop.submit { $0.reconfigure(configuration) } }
    }

    /// The live connections with their present byte counts. The loops are asked for some at a time, so a connection that
    /// opens or ends meanwhile may be missing.
    ///
    /// - Parameter isSampled: with what TCP says of each one's way to its peer, which costs a system call for each.
    package func connections(isSampled: Bool = false) async -> [ConnectionRecord] {
        var records: [ConnectionRecord] = []
        for loop in self.state.withLock({ $0.loops }) {
            var next: UInt32? = 0
            while let from = next {
                let part = await loop.ask { $0.records(from: from, isSampled: isSampled) }
                records += part?.records ?? []
                next = part?.next
            }
        }
        return records
    }

    /// Stops accepting and waits until all connections have ended, at most `deadline`; what is left then is closed by
    /// ``stop()``.
    package func drain(deadline: Duration) async {
        let loops = self.state.withLock { state in
            state.tunnels = []
            state.namespaces = [:]
            state.members = [:]
            return state.loops
        }
        for loop in loops {
            loop.submit { core in
                for key in core.listeners.keys { core.removeListener(key) }
                core.drain()
            }
        }
        let end = ContinuousClock.now + deadline
        while ContinuousClock.now < end {
            if await self.statistics().connections == 0 { return }
            do { try await Task.sleep(for: .milliseconds(50)) } catch { return }
        }
    }

    /// Counters since start.
    package func statistics() async -> ProxyStatistics {
        var sum = ProxyStatistics()
        for loop in self.state.withLock({ $0.loops }) {
            sum.add(await loop.ask { $0.presentStatistics() } ?? ProxyStatistics())
        }
        self.recent.withLock { [sum] in $0 = sum }
        return sum
    }

    /// What ``statistics()`` last said, for who cannot wait for the loops.
    package var recentStatistics: ProxyStatistics { self.recent.withLock { $0 } }

    /// What traffic policy did since start.
    package var trafficStatistics: TrafficStatistics { self.traffic.statistics }

    /// The endpoints that are set aside now.
    package var ejections: [EndpointEjection] { self.traffic.endpoints.ejections(now: Clock.monotonic) }

    /// For each service that this node uses: its connections to it, open and being made, and endpoints set aside since
    /// start.
    package var serviceUsage: [NamespacedName: (open: Int, pending: Int, ejections: UInt64)] {
        self.traffic.endpoints.services()
    }

    static func serverName(_ id: WorkloadID) -> String {
        "\(id.name).\(id.namespace).workload.mesh.internal"
    }
}

extension ProxyStatistics {
    fileprivate mutating func add(_ other: ProxyStatistics) {
        self.accepted += other.accepted
        self.refusedByLimit += other.refusedByLimit
        self.connections += other.connections
        self.idleTunnels += other.idleTunnels
        self.handshakesFull += other.handshakesFull
        self.handshakesResumed += other.handshakesResumed
        self.handshakesShed += other.handshakesShed
        self.tunnelsReused += other.tunnelsReused
        self.tunnelsStale += other.tunnelsStale
        self.tunnelsPrepared += other.tunnelsPrepared
        self.buffersLent += other.buffersLent
        self.pipesLent += other.pipesLent
        self.slowTurns += other.slowTurns
        self.turns += other.turns
        self.turnTimes.add(other.turnTimes)
        self.jobDelays.add(other.jobDelays)
        self.kernelTunnels += other.kernelTunnels
        self.kernelRefusals += other.kernelRefusals
    }
}

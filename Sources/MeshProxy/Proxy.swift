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
    private let configuration: ProxyConfiguration
    private let hooks: ProxyHooks
    private let logger: Logger
    private let traffic = TrafficControl()
    private let state = Mutex(State())
    private let recent = Mutex(ProxyStatistics())

    fileprivate struct State {
        var loops: [EventLoop] = []
        var tunnels: [Listener] = []
        var workloads: [WorkloadID: [Listener]] = [:]
        /// Numbers of the attached workloads, and of those that are being attached.
        var slots: [WorkloadID: UInt16] = [:]
        var isStopped = false
        var workers: HandshakeWorkers?
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
    package func start() throws(ProxyError) {
        do {
            let descriptors = ProcessLimits.raiseDescriptorLimit()
            let (aead, why) = try self.chooseAEAD()
            let engine = try EngineChoice.make(self.configuration.engine, aead: aead)
            var configuration = self.configuration
            if !engine.allowsReuse { configuration.tunnelPool.isReused = false }
            // Two sockets per connection, and a tenth for pipes, listeners and everything else the daemon opens.
            let derived = max(64, descriptors * 9 / 20)
            let workers = HandshakeWorkers()
            let settings = LoopSettings(
                configuration: configuration, hooks: self.hooks, logger: self.logger,
                acceptor: try TunnelAcceptor(), aead: aead, engine: engine, workers: workers,
                hostNamespace: try .ofProcess(),
                maxConnections: min(self.configuration.maxConnections ?? derived, derived), traffic: self.traffic)
            var tunnels: [Listener] = []
            if let address = self.configuration.tunnelListener {
                tunnels = try self.listeners(.tunnel, at: address)
            }
            let loops = try (0..<self.configuration.loops).map { _ in try EventLoop(settings) }
            for (loop, listener) in zip(loops, tunnels) { loop.submit { $0.addListener(listener) } }
            try workers.start(threads: self.configuration.handshakeThreads)
            for (index, loop) in loops.enumerated() { try loop.start(name: "nm-loop-\(index)") }
            self.state.withLock { state in
                state.loops = loops
                state.workers = workers
                state.tunnels = tunnels
            }
            self.logger.info(
                "data plane started",
                metadata: [
                    "loops": "\(loops.count)", "aead": "\(settings.aead.name)", "aead.why": "\(why)",
                    "engine": "\(engine.engine.rawValue)", "engine.why": "\(engine.why)",
                    "max.connections": "\(settings.maxConnections)",
                ])
        } catch {
            throw ProxyError("the data plane cannot start: \(error)")
        }
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

    /// Opens a workload's capture listeners inside its namespace and begins to accept. Blocks for some milliseconds.
    ///
    /// - Parameters:
    ///   - key: the number under which eBPF knows the workload; unique among attached ones.
    ///   - namespace: nil means the process's own.
    /// - Returns: where connections are accepted, with the inbound sockets' descriptors, one per loop, for the eBPF
    ///   side. They stay the proxy's and live until ``detach(_:)``.
    @discardableResult
    package func attach(
        _ id: WorkloadID, key: UInt32, namespace: NetworkNamespace?
    ) throws(ProxyError) -> WorkloadListeners {
        let loops = self.state.withLock { $0.loops }
        if loops.isEmpty { throw ProxyError("the data plane does not run") }
        guard let slot = self.state.withLock({ $0.takeSlot(id) }) else {
            throw ProxyError("workload \(id) is attached already")
        }
        let workload = LocalWorkload(id: id, key: key, slot: slot, namespace: namespace)
        let (outbound, inbound): ([Listener], [Listener])
        let open: @Sendable () throws(SystemError) -> ([Listener], [Listener]) = { () throws(SystemError) in
            (
                try self.listeners(.outbound(workload), at: self.configuration.outboundListener),
                try self.listeners(.inbound(workload), at: self.configuration.inboundListener)
            )
        }
        do throws(SystemError) {
            (outbound, inbound) = if let namespace { try namespace.run(open) } else { try open() }
        } catch {
            self.state.withLock { $0.slots[id] = nil }
            throw ProxyError("cannot listen inside workload \(id)'s network namespace: \(error)")
        }
        guard let firstOutbound = outbound.first, let firstInbound = inbound.first else {
            self.state.withLock { $0.slots[id] = nil }
            throw ProxyError("the data plane does not run")
        }
        self.state.withLock { $0.workloads[id] = outbound + inbound }
        for (index, loop) in loops.enumerated() {
            let (mine, other) = (outbound[index], inbound[index])
            loop.submit { core in
                core.workloads[id] = workload
                core.workloadsByName[Self.serverName(id)] = workload
                workload.usage.update(core.view?.snapshot.workload(id)?.limits)
                core.addListener(mine)
                core.addListener(other)
            }
        }
        return WorkloadListeners(
            outbound: firstOutbound.address, inbound: firstInbound.address,
            inboundDescriptors: inbound.map { $0.descriptor.raw },
            outboundDescriptors: outbound.map { $0.descriptor.raw })
    }

    /// Closes a workload's listeners, and its connections with reason `workload_gone`.
    package func detach(_ id: WorkloadID) {
        let loops = self.state.withLock { state in
            state.workloads[id] = nil
            state.slots[id] = nil
            return state.loops
        }
        for loop in loops {
            loop.submit { core in
                core.workloads[id] = nil
                core.workloadsByName[Self.serverName(id)] = nil
                for (key, listener) in core.listeners where listener.workload?.id == id { core.removeListener(key) }
                core.retireTunnels { $0.workload?.id == id }
                core.closeAll(.workloadGone) { !$0.isQuiet && ($0.workload?.id == id || $0.policyWorkload == id) }
            }
        }
    }

    /// Replaces what the loops decide by, and closes connections that are now denied.
    package func update(_ view: ProxyView) {
        self.traffic.endpoints.prune(view.snapshot)
        for loop in self.state.withLock({ $0.loops }) { loop.submit { $0.update(view) } }
    }

    /// The live connections with their present byte counts.
    package func connections() async -> [ConnectionRecord] {
        var records: [ConnectionRecord] = []
        for loop in self.state.withLock({ $0.loops }) { records += await loop.ask { $0.records() } ?? [] }
        return records
    }

    /// Stops accepting and waits until all connections have ended, at most `deadline`; what is left then is closed by
    /// ``stop()``.
    package func drain(deadline: Duration) async {
        let loops = self.state.withLock { state in
            state.tunnels = []
            state.workloads = [:]
            state.slots = [:]
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

    private static func serverName(_ id: WorkloadID) -> String {
        "\(id.name).\(id.namespace).workload.mesh.internal"
    }

    /// One listener per loop, all on one port.
    private func listeners(_ kind: Listener.Kind, at address: SocketAddress) throws(SystemError) -> [Listener] {
        // Only IPv4 yet.
        guard var endpoint = address.ipv4Endpoint else { throw SystemError(call: "bind", errno: EAFNOSUPPORT) }
        return try (0..<self.configuration.loops).map { _ throws(SystemError) in
            let socket = try Linux.tcpListener(at: endpoint)
            // Accepted sockets inherit both.
            try Linux.setNoDelay(socket.raw)
            try self.configuration.setKeepAlive(socket.raw)
            endpoint = try Linux.localEndpoint(socket.raw)
            return Listener(kind: kind, descriptor: socket, address: SocketAddress(endpoint))
        }
    }
}

extension Proxy.State {
    /// The least free number, from 1 on; nil when the workload has one or there are none left.
    fileprivate mutating func takeSlot(_ id: WorkloadID) -> UInt16? {
        if self.slots[id] != nil { return nil }
        let used = Set(self.slots.values)
        guard let slot = (1...UInt16.max).first(where: { !used.contains($0) }) else { return nil }
        self.slots[id] = slot
        return slot
    }
}

extension Listener {
    /// nil for the tunnel listener.
    var workload: LocalWorkload? {
        switch self.kind {
        case .outbound(let workload), .inbound(let workload): workload
        case .tunnel: nil
        }
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
        self.kernelTunnels += other.kernelTunnels
        self.kernelRefusals += other.kernelRefusals
    }
}

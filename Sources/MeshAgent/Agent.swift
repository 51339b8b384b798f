// SPDX-License-Identifier: Apache-2.0

import Foundation
import Hummingbird
import Logging
import MeshConfiguration
import MeshIdentity
import MeshLinux
import MeshModel
import MeshProxy
import MeshSteering
import MeshTelemetry
import MeshTraces
import NIOCore
import ServiceLifecycle
import UnixSignals

/// The node daemon as a whole: makes its parts in the order in which they need each other and runs them until it is
/// told to stop.
package struct Agent: Sendable {
    private let configuration: AgentConfiguration
    private let logger: Logger
    private let logs: LogLevels
    private let live: LiveConfiguration<AgentConfiguration>

    package init(_ live: LiveConfiguration<AgentConfiguration>) {
        self.live = live
        let configuration = live.current
        self.configuration = configuration
        self.logs = LogLevels(configuration.logLevel.loggerLevel)
        self.logger = self.logs.logger(label: "nodemeshd")
    }

    /// Returns after an orderly stop (SIGTERM, SIGINT).
    ///
    /// - Parameter takesOver: from the daemon that runs with this run directory, if one does.
    package func run(takesOver: Bool = false) async throws(AgentError) {
        ProcessSignals.ignoreBrokenPipe()
        let trace = StartTrace(logger: self.logger)
        trace.reached("configuration")
        var arrival = Arrival(self.configuration, logger: self.logger)
        let setup = HostSetup(configuration: self.configuration, logger: self.logger)
        try setup.makeDirectories()
        let lock = try await arrival.claim(takesOver: takesOver)
        defer { withExtendedLifetime(lock) {} }
        let cgroup = try setup.enterCgroup(of: arrival.cgroup)
        trace.reached("host")
        let supervision = Supervision(environment: arrival.environment, logger: self.logger)
        let endings = Endings()
        guard let start = try await self.findIdentity(trace, supervision, endings) else {
            supervision.stopping("was waiting for the control plane, to join")
            return self.logger.info("stopped before this node has joined")
        }
        trace.reached("identity and view from disk")
        // Beside the verification of the programs.
        AgentParts.beginMeasuring(self.configuration)
        let steering = try AgentParts.steering(
            self.configuration, cgroup: cgroup, lock: arrival.steeringLock(), logger: self.logger)
        trace.reached("kernel programs")
        let server = try self.serveTakeOver(
            arrival.environment, cgroup: cgroup, lock: lock, steering: steering, endings: endings)
        let parts = try self.assemble(
            cgroup: cgroup, start: start, steering: steering, supervision: supervision,
            arrival: &arrival)
        trace.reached("parts")
        arrival.forgetStored(supervision)
        defer {
            server.stop()
            parts.watch.stop()
            parts.eventReader.stop()
            parts.events.close()
            parts.names?.stop()
            parts.proxy.stop()
            parts.telemetry.accessLog.close()
        }
        // The last to stop comes first.
        var services: [any ServiceLifecycle.Service] = []
        if let traces = parts.traces { services.append(traces) }
        services += [
            parts.conductor, parts.control, parts.certificates, parts.direct, parts.health, parts.addresses,
            parts.crashKeeper, parts.ticker,
        ]
        if let keeper = parts.keeper { services.append(keeper) }
        services += self.watchdogs(parts, supervision)
        services += self.servers(parts)
        var group = ServiceGroupConfiguration(
            services: services.map { .init(service: $0) }, gracefulShutdownSignals: [.sigterm, .sigint],
            logger: self.logger)
        group.maximumGracefulShutdownDuration = Self.shutdownGrace
        try await self.run(ServiceGroup(configuration: group), until: endings)
        if case .takeOver = endings.ending {
            // Not the end of the service: the manager would cut whoever is it by then.
            supervision.status("handing over to another nodemeshd")
        } else {
            supervision.stopping("ending connections or handing them over")
        }
        server.stop()
        let environment = arrival.environment
        await Departure(
            configuration: self.configuration, proxy: parts.proxy, names: parts.names, supervision: supervision,
            store: parts.crashKeeper.store,
            environment: environment, logger: self.logger
        ) {
            parts.telemetry.accessLog.close()
        }.depart(endings.ending)
        self.logger.info("stopped; enrolled workloads stay captured until the next start")
    }

    /// From the signal until services that have not ended are cut. Connections go on meanwhile.
    private static let shutdownGrace = Duration.seconds(5)

    private func run(_ group: ServiceGroup, until endings: Endings) async throws(AgentError) {
        let watcher = Task {
            await endings.wait()
            if !Task.isCancelled { await group.triggerGracefulShutdown() }
        }
        defer { watcher.cancel() }
        do {
            try await group.run()
        } catch is CancellationError {
            // A service that was told to end, and says so: nothing that may cost connections.
        } catch {
            throw AgentError("\(error)")
        }
    }

    private func serveTakeOver(
        _ environment: [String: String], cgroup: String, lock: LockHolder, steering: Steering, endings: Endings
    ) throws(AgentError) -> TakeOverServer {
        do throws(SystemError) {
            let server = try TakeOverServer(
                self.configuration, cgroup: cgroup, environment: environment, runLock: lock, steering: steering,
                endings: endings, logger: self.logger)
            try server.start()
            return server
        } catch {
            throw AgentError("\(self.configuration.handOverPath): \(error)")
        }
    }

    private func watchdogs(_ parts: AgentParts, _ supervision: Supervision) -> [any ServiceLifecycle.Service] {
        guard let interval = supervision.watchdogInterval else { return [] }
        let (proxy, registry) = (parts.proxy, parts.conductor.registry)
        let loops = (0..<parts.loops).map { index in
            PulseCheck.Part("nm-loop-\(index)") { proxy.ping(loop: index, $0) }
        }
        let conductor = PulseCheck.Part("conductor") { answer in
            Task {
                _ = await registry.isRestored
                answer()
            }
            return true
        }
        let names = parts.names.map { [$0.pulse] } ?? []
        return [
            Watchdog(
                supervision: supervision, interval: interval, pulse: PulseCheck(loops + [conductor] + names),
                logger: self.logger)
        ]
    }

    /// What the last run left on disk: with it nothing waits for the control plane.
    ///
    /// - Returns: nil when the daemon was told to end while it waited.
    private func findIdentity(
        _ trace: StartTrace, _ supervision: Supervision, _ endings: Endings
    ) async throws(AgentError) -> StartState? {
        guard let address = self.configuration.controlPlane else { throw AgentError("controlPlane: missing") }
        let join = NodeJoin(
            store: NodeCredentialStore(directory: self.configuration.dataDirectory),
            dialler: GRPCControlPlane(address: address))
        do throws(ControlPlaneError) {
            let identity = FirstIdentity(
                join: join, configuration: self.configuration, supervision: supervision, endings: endings,
                logger: self.logger.component("control-plane"))
            guard let credentials = try await identity.find() else { return nil }
            self.logger.info(
                "this node's identity is at hand", metadata: ["node.identity": "\(credentials.svid.identity)"])
            var start = StartState(
                credentials: credentials, directory: self.configuration.dataDirectory, trace: trace,
                logger: self.logger)
            let node = self.configuration.node
            if let token = self.configuration.joinToken, let fingerprint = self.configuration.caFingerprint {
                start.rejoin = { try await join.exchange(token, node: node, fingerprint: fingerprint) }
            }
            return start
        } catch {
            throw AgentError("\(error)")
        }
    }

    private func servers(_ parts: AgentParts) -> [any ServiceLifecycle.Service] {
        let socket = self.configuration.socketPath
        // The run directory is locked, so a socket that is there is a dead daemon's.
        try? FileTree.remove(socket)
        let admin = Application(
            router: AdminRoutes.router(parts.inventory),
            configuration: ServerBounds.configuration(
                .unixDomainSocket(path: socket), connections: ServerBounds.admin),
            onServerRunning: { _ in
                try? FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: socket)
            }, logger: self.quietLogger)
        let inventory = parts.inventory
        let metrics = Application(
            router: ProbeRoutes.metrics { await inventory.metrics() }, server: ServerBounds.probeServer,
            configuration: ServerBounds.configuration(
                Self.bind(self.configuration.metricsListen), connections: ServerBounds.probes), logger: self.quietLogger
        )
        let readiness = Application(
            router: ProbeRoutes.readiness { await inventory.problem() }, server: ServerBounds.probeServer,
            configuration: ServerBounds.configuration(
                Self.bind(self.configuration.readinessListen), connections: ServerBounds.probes),
            logger: self.quietLogger)
        return [admin, metrics, readiness]
    }

    /// The servers say "started" at info for each; that is no news.
    private var quietLogger: Logger {
        var logger = self.logger.component("servers")
        logger.logLevel = .warning
        return logger
    }

    private static func bind(_ address: HostPort) -> BindAddress { .hostname(address.host, port: Int(address.port)) }

    private func assemble(
        cgroup: String, start: StartState, steering: Steering, supervision: Supervision,
        arrival: inout Arrival
    ) throws(AgentError) -> AgentParts {
        do {
            return try AgentParts(
                configuration: self.configuration, cgroup: cgroup, start: start, steering: steering,
                supervision: supervision, arrival: &arrival, logger: self.logger, logs: self.logs, live: self.live)
        } catch let error as AgentError {
            throw error
        } catch {
            throw AgentError("\(error)")
        }
    }
}

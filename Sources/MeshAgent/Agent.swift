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
import NIOCore
import ServiceLifecycle
import UnixSignals

/// The node daemon as a whole: makes its parts in the order in which they need each other and runs them until it is
/// told to stop.
package struct Agent: Sendable {
    private let configuration: AgentConfiguration
    private let logger: Logger
    private let live: LiveConfiguration<AgentConfiguration>

    package init(_ live: LiveConfiguration<AgentConfiguration>) {
        self.live = live
        let configuration = live.current
        self.configuration = configuration
        let level = Logger.Level(rawValue: configuration.logLevel.rawValue) ?? .info
        self.logger = Logger(label: "nodemeshd") { label in
            var handler = StreamLogHandler.standardError(label: label)
            handler.logLevel = level
            return handler
        }
    }

    /// Returns after an orderly stop (SIGTERM, SIGINT).
    package func run() async throws(AgentError) {
        ProcessSignals.ignoreBrokenPipe()
        let cgroup = try HostSetup(configuration: self.configuration, logger: self.logger).prepare()
        let lock = try self.lockRunDirectory()
        defer { withExtendedLifetime(lock) {} }
        let start = try await self.findIdentity()
        let parts = try self.assemble(cgroup: cgroup, start: start)
        defer {
            parts.watch.stop()
            parts.eventReader.stop()
            parts.events.close()
            parts.proxy.stop()
            parts.telemetry.accessLog?.close()
        }
        let group = ServiceGroup(
            configuration: .init(
                services: [
                    .init(service: parts.conductor), .init(service: parts.control),
                    .init(service: parts.certificates), .init(service: parts.direct), .init(service: parts.health),
                    .init(service: parts.addresses),
                ] + (parts.keeper.map { [.init(service: $0)] } ?? []) + self.servers(parts).map { .init(service: $0) },
                gracefulShutdownSignals: [.sigterm, .sigint], logger: self.logger))
        do {
            try await group.run()
        } catch {
            throw AgentError("\(error)")
        }
        self.logger.info(
            "stopped; enrolled workloads stay captured, their mesh connects are refused until the next start")
    }

    /// The lock ends with the daemon, however it ends.
    private func lockRunDirectory() throws(AgentError) -> LockHolder {
        let path = self.configuration.runDirectory
        let lock: LockHolder?
        do throws(SystemError) {
            if let descriptor = try FileTree.lock(directory: path) {
                lock = LockHolder(descriptor)
            } else {
                lock = nil
            }
        } catch {
            throw AgentError("\(path) cannot be locked: \(error)")
        }
        guard let lock else {
            throw AgentError("another nodemeshd runs with run directory \(path); give each its own --run-dir")
        }
        return lock
    }

    /// What the last run left on disk: with it nothing waits for the control plane.
    private func findIdentity() async throws(AgentError) -> StartState {
        guard let address = self.configuration.controlPlane else { throw AgentError("controlPlane: missing") }
        let join = NodeJoin(
            store: NodeCredentialStore(directory: self.configuration.dataDirectory),
            dialler: GRPCControlPlane(address: address))
        do throws(ControlPlaneError) {
            let (node, token, fingerprint) = (
                self.configuration.node, self.configuration.joinToken, self.configuration.caFingerprint
            )
            let credentials = try await join.credentials(node: node, token: token, fingerprint: fingerprint)
            self.logger.info(
                "this node's identity is at hand", metadata: ["node.identity": "\(credentials.svid.identity)"])
            var start = StartState(
                credentials: credentials, directory: self.configuration.dataDirectory, logger: self.logger)
            if let token, let fingerprint {
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
            configuration: .init(address: .unixDomainSocket(path: socket), serverName: nil),
            onServerRunning: { _ in
                try? FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: socket)
            }, logger: self.quietLogger)
        let (telemetry, proxy, inventory) = (parts.telemetry, parts.proxy, parts.inventory)
        let direct = parts.direct.path
        let metrics = Application(
            router: ProbeRoutes.metrics {
                // So that the bytes of long connections are right at each reading.
                telemetry.progress(await proxy.connections() + direct.connections())
                return telemetry.registry.render()
            },
            configuration: .init(address: Self.bind(self.configuration.metricsListen)), logger: self.quietLogger)
        let readiness = Application(
            router: ProbeRoutes.readiness { await inventory.problem() },
            configuration: .init(address: Self.bind(self.configuration.readinessListen)), logger: self.quietLogger)
        return [admin, metrics, readiness]
    }

    /// The servers say "started" at info for each; that is no news.
    private var quietLogger: Logger {
        var logger = self.logger
        logger.logLevel = max(logger.logLevel, .warning)
        return logger
    }

    private static func bind(_ address: HostPort) -> BindAddress { .hostname(address.host, port: Int(address.port)) }

    private func assemble(cgroup: String, start: StartState) throws(AgentError) -> AgentParts {
        do {
            return try AgentParts(
                configuration: self.configuration, cgroup: cgroup, start: start, logger: self.logger,
                live: self.live)
        } catch let error as AgentError {
            throw error
        } catch {
            throw AgentError("\(error)")
        }
    }
}

/// Keeps a descriptor open as long as somebody holds this.
private final class LockHolder: Sendable {
    private let descriptor: MeshLinux.FileDescriptor
    init(_ descriptor: consuming MeshLinux.FileDescriptor) { self.descriptor = descriptor }
}

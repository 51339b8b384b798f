// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
import Logging
import MeshConfiguration
import MeshDiscovery
import MeshIdentity
import MeshLinux
import MeshModel
import MeshStore
import MeshTelemetry
import NIOCore
import NIOPosix
import ServiceLifecycle
import UnixSignals
import X509

/// The whole control plane, put together: the store and the authority in its data directory, the listeners for nodes,
/// operators and Prometheus, and what runs beside them.
package struct ControlPlane: Sendable {
    /// Policies here hold for the whole mesh.
    package static let rootNamespace = "nodemesh-system"
    package static let version = Version.text
    /// Of operators and of Prometheus each, at one time; more wait in the kernel until one ends.
    private static let httpConnections = 256
    /// A connection that asks nothing for so long is closed.
    private static let httpIdle = TimeAmount.seconds(60)
    /// Of nodes, those that have not said who they are included.
    private static let nodeConnections = 16_384
    /// Seconds from SIGTERM until what is still open is cut.
    private static let shutdownGrace = 10

    /// As it was at the start.
    package let configuration: ControlConfiguration
    private let live: LiveConfiguration<ControlConfiguration>
    private let logs: LogLevels
    package let directory: DataDirectory
    package let store: Store
    package let authorities: AuthorityKeeper
    /// The one that signs.
    package var authority: CertificateAuthority { self.authorities.authorities.active }
    package let adminToken: String
    package let operators: OperatorAPI
    package let metrics: ControlMetrics
    package let credentials: ServerCredentials
    let nodes: NodeService
    let certificates: CertificateService
    let nodeServer: GRPCServer<HTTP2ServerTransport.Posix>
    private let transport: HTTP2ServerTransport.Posix
    private let publisher: MeshPublisher
    private let liveness: NodeLiveness
    private let discovery: DiscoveryServer
    let recent: RecentConnections
    private let logger: Logger

    /// Opens or makes everything on disk. Nothing listens yet.
    package init(
        _ live: LiveConfiguration<ControlConfiguration>, logs: LogLevels, logger: Logger
    ) async throws {
        let configuration = live.current
        self.live = live
        self.logs = logs
        self.configuration = configuration
        self.logger = logger
        self.metrics = ControlMetrics()
        self.directory = try DataDirectory(configuration.dataDirectory)
        self.store = try self.directory.openStore()
        let (now, nodes) = (Date(), try await self.store.nodes())
        self.liveness = NodeLiveness(timeout: .seconds(configuration.nodeTimeout))
        self.liveness.restore(nodes, now: .now)
        let authorities = try await AuthorityKeeper(
            store: self.store, files: self.directory.authorities, liveness: self.liveness,
            trustDomain: configuration.trustDomain, isInUse: !nodes.isEmpty, now: now, logger: logger)
        self.authorities = authorities
        self.adminToken = try self.directory.adminToken()
        let advertise =
            configuration.advertise.isEmpty
            ? [HostPort(host: ProcessInfo.processInfo.hostName, port: configuration.grpcListen.port)]
            : configuration.advertise
        let credentials = try ServerCredentials(
            authorities: authorities.authorities, names: Self.names(configuration, advertise), now: now)
        self.credentials = credentials
        authorities.whenChanged { try credentials.change($0, now: Date()) }

        let settings = MeshSettings(
            trustDomain: configuration.trustDomain, prefixes: Self.prefixes(configuration),
            trustBundle: [], rootNamespace: Self.rootNamespace,
            maxStaleness: configuration.maxStaleness > 0 ? configuration.maxStaleness : nil)
        let restored = RestoreWatch(store: self.store, logger: logger)
        let sessions = NodeSessions()
        let authenticator = NodeAuthenticator(
            store: self.store, trustDomain: configuration.trustDomain, metrics: self.metrics)
        self.discovery = DiscoveryServer(logger: logger.component("discovery")) { context in
            DiscoveryServer.Peer(name: try await authenticator.authenticate(context).name)
        }
        self.publisher = MeshPublisher(
            store: self.store, liveness: self.liveness, discovery: self.discovery,
            settings: {
                let present = authorities.authorities
                var settings = settings
                settings.trustBundle = try present.bundle().pem
                settings.issuingRoot = try present.active.fingerprint().description
                return settings
            }, metrics: self.metrics, logger: logger)
        self.recent = RecentConnections(startedAt: Int64(now.timeIntervalSince1970))
        let issuer = Issuer(
            store: self.store, authorities: authorities, validity: { TimeInterval(live.current.svidTTL) },
            nodeValidity: { TimeInterval(max(live.current.nodeTTL, live.current.svidTTL)) }, metrics: self.metrics,
            logger: logger.component("certificates"))
        self.operators = OperatorAPI(
            store: self.store, publisher: self.publisher, liveness: self.liveness, sessions: sessions,
            discovery: self.discovery, recent: self.recent, authorities: authorities, restored: restored,
            settings: settings, advertise: advertise, metrics: self.metrics, live: live, logs: logs,
            logger: logger.component("operators"), startedAt: now)
        self.transport = try NodeTransport.make(
            address: configuration.grpcListen, credentials: self.credentials,
            quota: ConnectionQuota(limit: Self.nodeConnections) { [metrics] in metrics.refused(.connections) })
        self.nodes = NodeService(
            authenticator: authenticator, issuer: issuer, store: self.store, liveness: self.liveness,
            sessions: sessions, publisher: self.publisher, recent: self.recent, restored: restored,
            metrics: self.metrics, logger: logger)
        self.certificates = CertificateService(authenticator: authenticator, issuer: issuer)
        self.nodeServer = GRPCServer(
            transport: self.transport, services: [self.nodes, self.certificates, self.discovery],
            interceptors: [
                NodeInterceptor(authenticator: authenticator, sessions: sessions, metrics: self.metrics)
            ])
        self.collectGauges()
    }

    /// Where nodes connect, once it listens.
    package var nodeAddress: String {
        get async throws { "\(try await self.transport.listeningAddress)" }
    }

    /// Serves until SIGTERM or SIGINT, or until something fails.
    package func run() async throws {
        // What is stored must make sense before anybody is told of it.
        _ = try await self.publisher.view()
        var configuration = ServiceGroupConfiguration(
            services: (try self.services() + self.supervisors()).map { .init(service: $0) },
            gracefulShutdownSignals: [.sigterm, .sigint],
            logger: self.logger)
        configuration.maximumGracefulShutdownDuration = .seconds(Self.shutdownGrace)
        let group = ServiceGroup(configuration: configuration)
        try await group.run()
        try self.store.close()
        self.logger.info("stopped")
    }

    /// The sentence for an operator about an error that ``init(_:logger:)`` or ``run()`` threw.
    package static func explain(_ error: any Error) -> String {
        switch error {
        case let error as StoreError: error.message
        case let error as ControlError: error.message
        case let error as IdentityError: error.message
        default: "\(error)"
        }
    }

    /// Everything that runs, for a group of the caller's making.
    package func services() throws -> [any ServiceLifecycle.Service] {
        let configuration = self.configuration
        let router = OperatorRoutes.router(self.operators, token: self.adminToken, metrics: self.metrics)
        let listen = Self.listen(configuration.apiListen)
        let http = HTTPServerBuilder.http1(configuration: .init(idleTimeout: Self.httpIdle))
        let operators =
            configuration.apiListen.ip.isLoopback
            ? Application(router: router, server: http, configuration: listen, logger: self.logger)
            : Application(
                router: router, server: try .tls(http, tlsConfiguration: self.credentials.operatorConfiguration()),
                configuration: listen, logger: self.logger)
        let (logs, liveness) = (self.logs, self.liveness)
        return [
            self.publisher,
            ReloadService(live: self.live, logger: self.logger) { configuration in
                logs.setBase(configuration.logLevel.loggerLevel)
                liveness.timeout = .seconds(configuration.nodeTimeout)
            },
            Housekeeping(
                store: self.store, liveness: self.liveness, publisher: self.publisher,
                credentials: self.credentials, authorities: self.authorities, logger: self.logger),
            NodeServer(
                server: self.nodeServer, transport: self.transport, discovery: self.discovery,
                address: configuration.grpcListen.description, logger: self.logger),
            HTTPListener(
                application: operators, name: "operators", address: configuration.apiListen, flag: "--api-listen"),
            HTTPListener(
                application: Application(
                    router: MetricsRoutes.router(self.metrics.registry), server: http,
                    configuration: Self.listen(configuration.metricsListen), logger: self.logger),
                name: "metrics", address: configuration.metricsListen, flag: "--metrics-listen"),
        ]
    }

    private func supervisors() -> [any ServiceLifecycle.Service] {
        let environment = ProcessInfo.processInfo.environment
        guard let manager = ServiceManager(environment: environment) else { return [] }
        let transport = self.transport
        return [
            Supervisor(
                manager: manager, watchdogInterval: ServiceManager.watchdogInterval(environment: environment),
                group: MultiThreadedEventLoopGroup.singleton,
                isServing: { _ = try await transport.listeningAddress }, logger: self.logger)
        ]
    }

    private static func listen(_ address: MeshModel.SocketAddress) -> ApplicationConfiguration {
        .init(
            address: .hostname(address.ip.description, port: Int(address.port)),
            availableConnectionsDelegate: MaximumAvailableConnections(Self.httpConnections))
    }

    private static func prefixes(_ configuration: ControlConfiguration) -> [IPPrefix] {
        configuration.meshPrefixes.reduce(into: DataDirectory.virtualPrefixes) { prefixes, prefix in
            if !prefixes.contains(prefix) { prefixes.append(prefix) }
        }
    }

    /// Under which names the listeners may be dialled.
    private static func names(_ configuration: ControlConfiguration, _ advertise: [HostPort]) -> [String] {
        let addresses = [configuration.grpcListen.ip, configuration.apiListen.ip].filter { !$0.isUnspecified }
        let names =
            advertise.map(\.host) + addresses.map(\.description)
            + [ProcessInfo.processInfo.hostName, "localhost", "127.0.0.1", "::1"]
        return names.reduce(into: []) { if !$1.isEmpty, !$0.contains($1) { $0.append($1) } }
    }

    private func collectGauges() {
        let (registry, discovery, liveness) = (self.metrics.registry, self.discovery, self.liveness)
        registry.collect(
            "nodemesh_control_discovery_streams", .gauge, help: "Discovery streams that are open now."
        ) { [([], Double(discovery.peers.count))] }
        registry.collect("nodemesh_control_nodes_alive", .gauge, help: "Nodes heard from within the node timeout.") {
            [([], Double(liveness.alive.count))]
        }
        let recent = self.recent
        registry.collect(
            "nodemesh_control_recent_connections", .gauge,
            help: "Different connections of the last hour that nodes have told of, kept for testing policies."
        ) { [([], Double(recent.count))] }
        registry.collect(
            "nodemesh_control_recent_connections_dropped_total", .counter,
            help: "Connections that were not kept for want of room, on nodes or here."
        ) { [([], Double(recent.dropped))] }
        let publisher = self.publisher
        registry.collect(
            "nodemesh_control_objects", .gauge, help: "What the mesh consists of as last published.", labels: ["kind"]
        ) { publisher.counts.map { ([$0.key], Double($0.value)) } }
        let authorities = self.authorities
        registry.collect(
            "nodemesh_control_ca_expiry_timestamp_seconds", .gauge,
            help: "When the root certificate that signs ends, as Unix time."
        ) { [([], authorities.authorities.active.root.notValidAfter.timeIntervalSince1970)] }
        registry.collect(
            "nodemesh_control_ca_roots", .gauge,
            help: "Roots that nodes are told to trust; more than one in a rotation."
        ) { [([], Double(authorities.authorities.all.count))] }
    }
}

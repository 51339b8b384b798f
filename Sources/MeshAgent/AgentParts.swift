// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshAdminAPI
import MeshConfiguration
import MeshDNS
import MeshDiscovery
import MeshIdentity
import MeshLinux
import MeshModel
import MeshProxy
import MeshSteering
import MeshTelemetry
import MeshTraces
import Synchronization

/// The parts of a running daemon, wired to each other.
struct AgentParts: Sendable {
    let telemetry: ConnectionTelemetry
    let ticker: TelemetryTicker
    let traces: TraceExporter?
    let steering: Steering
    let proxy: Proxy
    let control: ControlPlaneClient
    let certificates: CertificateManager
    let conductor: Conductor
    let inventory: Inventory
    let events: EventHub
    let watch: CgroupWatch
    let direct: LocalPathService
    let eventReader: EventReader
    let canary: Canary
    let health: HealthWatch
    let addresses: NodeAddresses
    /// nil: the view cannot be kept.
    let keeper: ViewKeeper?
    let crashKeeper: CrashKeeper
    let loops: Int
    let names: NameService?

    /// Loads the programs, which takes the most time of a start.
    ///
    /// - Parameter lock: of the instance, from the daemon that hands over.
    static func steering(
        _ configuration: AgentConfiguration, cgroup: String, lock: consuming FileDescriptor?, logger: Logger
    ) throws(AgentError) -> Steering {
        var kernel = SteeringConfiguration(instance: configuration.instance, proxyCgroup: cgroup)
        kernel.failMode = configuration.failMode == .open ? .open : .closed
        kernel.capacities = MapSizes.capacities(configuration.mapSizes)
        do throws(SteeringError) {
            return try Steering(configuration: kernel, lock: lock, logger: logger.component("steering"))
        } catch {
            throw AgentError("\(error)")
        }
    }

    /// - Parameter arrival: where the data plane of the daemon before comes from.
    init(
        configuration: AgentConfiguration, cgroup: String, start: StartState, steering: Steering,
        supervision: Supervision, arrival: inout Arrival, logger: Logger, logs: LogLevels,
        live: LiveConfiguration<AgentConfiguration>
    ) throws {
        guard let controlPlane = configuration.controlPlane else { throw AgentError("controlPlane: missing") }
        let credentials = start.credentials
        let telemetry = try ConnectionTelemetry(
            accessLog: configuration.accessLogSettings, cluster: configuration.clusterName,
            maxSeries: configuration.metricsMaxSeries)
        self.traces = try Self.traces(configuration, telemetry, logger)
        let decisions = DecisionLog(registry: telemetry.registry)
        telemetry.watch(steering)
        let (events, names) = (EventHub(), WorkloadNames(trustDomain: credentials.trustDomain))
        let sockets = NamespaceSockets(steering: steering, logger: logger.component("enrolment"))
        let upkeep = KernelUpkeep(configuration, steering: steering, logger: logger.component("steering"))
        upkeep.watch(telemetry.registry)
        upkeep.apply(configuration)
        let feed = EventFeed(hub: events, names: names)
        feed.watch(telemetry.registry)
        let canarySlot = CanarySlot()
        let loops = configuration.loops > 0 ? configuration.loops : min(4, ProcessInfo.processInfo.activeProcessorCount)
        telemetry.describe(node: configuration.node, loops: loops)
        // The hooks of the proxy are made before what they tell.
        let relay = LateValue<LocalPathService>()
        var hooks = ProxyHooks(
            originalDestination: { socket in
                steering.originalDestination(of: socket).map { ($0.address, $0.workloadKey) }
            },
            inboundOrigin: { socket in steering.inboundOrigin(of: socket).map { ($0.workloadKey, $0.sourceKey) } },
            markUpstream: { steering.setRealClient(on: $0, client: $1) },
            onOpened: { record in
                if canarySlot.noticed(record) { return }
                telemetry.opened(record)
                decisions.opened(record)
                if record.wire == .local { relay.value?.tell(.proxied(record)) }
            },
            onClosed: { record in
                if canarySlot.noticed(record) { return }
                telemetry.closed(record)
                decisions.closed(record)
            })
        hooks.onAdopted = { record in
            telemetry.resumed(record)
            if record.wire == .local { relay.value?.tell(.proxied(record)) }
        }
        hooks.directServers = { relay.value?.path.shares.servers($0, $1) ?? [] }
        hooks.portOwner = { steering.portOwner($0, $1) }
        let proxy = Proxy(
            configuration: Self.proxyConfiguration(configuration, loops: loops), hooks: hooks,
            logger: logger.component("data-plane"))
        let handOver = HandOverLog(logger: logger.component("hand-over"))
        handOver.watch(telemetry.registry)
        // What takes time comes first: from here on connections of the daemon before stand still.
        try proxy.prepare()
        var carriedNames: CarriedNames?
        if let inheritance = try arrival.receive(supervision.manager) {
            let label = inheritance.label
            let names = Self.names(of: inheritance, logger: logger.component("hand-over"))
            let summary = try proxy.start(adopting: inheritance.takeState()) {
                arrival.willRun($0, names, supervision.manager)
            }
            carriedNames = names
            handOver.resumed(label, summary)
        } else {
            try proxy.start()
        }
        start.trace.reached("data plane")
        telemetry.watch(proxy)
        telemetry.watchLoops(of: proxy)
        let path = try LocalPath(
            steering: steering, isOn: configuration.directPath == .automatic,
            redirects: configuration.redirectPeer, sockmapCap: configuration.sockmapCap,
            reports: .init(
                opened: { record in
                    telemetry.opened(record)
                    decisions.opened(record)
                },
                closed: { record in
                    telemetry.closed(record)
                    decisions.closed(record)
                }, ejections: { proxy.ejections }),
            logger: logger.component("direct-path"))
        let direct = LocalPathService(path: path)
        relay.value = direct
        self.direct = direct
        self.eventReader = try steering.events { event in
            feed.take(event)
            // Of decisions, the direct path has to act upon one.
            if event.kind != .decision || event.reason == .sockmapStalled { direct.tell(.event(event)) }
        }

        let news = News()
        let freshness = ViewFreshness(ownLimit: Self.limit(configuration))
        if let confirmedAt = start.view.confirmedAt { freshness.restored(confirmedAt: confirmedAt) }
        // The control plane's client is made before what keeps its view.
        let keeping = LateValue<ViewKeeper>()
        let control = ControlPlaneClient(
            credentials: credentials, store: NodeCredentialStore(directory: configuration.dataDirectory),
            dialler: GRPCControlPlane(address: controlPlane), decisions: decisions,
            logger: logger.component("control-plane"),
            discovery: start.view.discovery,
            freshness: freshness, faults: start.faults, rejoin: start.rejoin,
            handlers: .init(
                state: { state in
                    news.states.yield(state)
                    keeping.value?.changed()
                }, registered: { news.registrations.yield($0) }))
        let keeper = start.keeper(freshness: freshness, logger: logger.component("state")) { control.held }
        keeping.value = keeper
        // Connections wait for it: no service has to get its turn first.
        if let held = start.view.discovery, held.isConsistent {
            let state = held.state
            freshness.setMeshLimit(state.settings?.maxStaleness.map { .seconds($0) })
            news.states.yield(state)
        }
        let alarms = CertificateAlarms(events: events, logger: logger.component("certificates"))
        let certificates = CertificateManager(
            signer: control, bundle: { control.credentials.bundle },
            kept: SVIDStore(
                directory: configuration.dataDirectory, queue: start.queue, faults: start.faults,
                logger: logger.component("state")),
            alarms: alarms, logger: logger.component("certificates"), onChange: { news.certificates.yield($0) })
        self.ticker = TelemetryTicker(telemetry: telemetry, proxy: proxy, direct: path)
        telemetry.watch(certificates) { control.credentials.svid }
        let nameService =
            configuration.dns == .on
            ? try NameService(
                configuration, steering: steering, registry: telemetry.registry, events: events, names: names,
                carried: carriedNames, logger: logger.component("dns")) : nil
        let views = ViewBuilder(
            node: configuration.node, locality: configuration.locality, logger: logger.component("control-plane"),
            report: { control.setTrustReport($0) }
        ) { view in
            start.trace.reached(
                view.identities.isEmpty ? "view" : "view with \(view.identities.count) certificates")
            certificates.setIssuingRoot(view.snapshot.settings.issuingRoot)
            // The loops come first: from the moment a prefix is captured they must know what is in it.
            telemetry.update(view.snapshot)
            proxy.update(view)
            direct.tell(view)
            nameService?.server.update(view.snapshot)
            do throws(SteeringError) {
                try steering.setPrefixes(view.snapshot.settings.prefixes)
            } catch {
                logger.error("the mesh prefixes cannot be set", metadata: ["reason": "\(error)"])
            }
        }
        let addresses = NodeAddresses(
            configured: configuration.nodeAddresses, towards: controlPlane.host,
            last: start.view.discovery?.state.nodes.first { $0.name == configuration.node }?.addresses ?? [],
            logger: logger)
        let trustDomain = credentials.trustDomain
        let watch = try CgroupWatch()
        let crashKeeper = CrashKeeper(
            configuration, proxy: proxy, names: nameService, supervision: supervision,
            occupied: arrival.occupied, logger: logger)
        crashKeeper.watch(telemetry.registry)
        nameService?.onChange { crashKeeper.listenersChanged() }
        let plane = KernelPlane(
            proxy: proxy, steering: steering, ports: sockets, names: nameService,
            logger: logger.component("enrolment"),
            didChange: { crashKeeper.listenersChanged() },
            willDetach: { await path.willDetach($0) })
        let canary = Canary(
            proxyCgroup: cgroup, plane: plane, steering: steering, events: events, names: names,
            logger: logger.component("canary"))
        canarySlot.set(canary)
        canary.watch(telemetry.registry)
        let registry = WorkloadRegistry(
            store: EnrolmentStore(dataDirectory: configuration.dataDirectory), inspector: HostInspector(),
            plane: plane, logger: logger.component("enrolment"), settle: .milliseconds(10),
            limit: Int(MapSizes.capacities(configuration.mapSizes).workloads) - 1,
            names: names, watcher: watch.watcher
        ) { entries in
            let identities = Self.identities(of: entries, trustDomain: trustDomain)
            if !entries.isEmpty { start.trace.reached("\(entries.count) workloads enrolled") }
            await certificates.adopt(Set(identities.values))
            await views.begin(certificates: certificates.certificates)
            await path.update(workloads: entries.compactMap { $0.directEnd })
            await views.update(local: identities)
            let ports = await sockets.ports
            // Without an address of the node nobody could reach them; as soon as there is one this is called again.
            guard let own = addresses.current else { return }
            control.setRegistration(
                NodeRegistration(
                    addresses: own, tunnelPort: MeshPorts.tunnel, locality: configuration.locality,
                    workloads: entries.map { entry in
                        WorkloadRegistration(
                            id: entry.id, serviceAccount: entry.request.serviceAccount, labels: entry.request.labels,
                            addresses: entry.workload.addresses, isHostNetwork: entry.options.isShared,
                            ports: ports[entry.id] ?? [],
                            weight: UInt32(clamping: entry.request.weight ?? 1))
                    }))
        }
        let refusals = RefusalList()
        let reloader = Reloader(
            live, logger: logger, attempt: { telemetry.changeAccessLog(from: $0, to: $1, logger: logger) }
        ) { next in
            logs.setBase(next.logLevel.loggerLevel)
            proxy.reconfigure(Self.proxyConfiguration(next, loops: loops))
            upkeep.apply(next)
            freshness.setOwnLimit(Self.limit(next))
        }
        addresses.onChange { await registry.touch() }
        self.health = HealthWatch(
            freshness: freshness, control: control, alarms: alarms, faults: start.faults, events: events,
            logger: logger.component("state"), refusal: start.view.refusal,
            onStale: { reason in
                proxy.setStaleness(reason)
                Task { await path.setSuspended(reason != nil) }
            }, onClockJump: { certificates.wake() })
        self.health.watch(telemetry.registry)
        // Before anything is decided by a view that is too old already.
        self.health.look()
        self.addresses = addresses
        self.keeper = keeper
        self.telemetry = telemetry
        self.steering = steering
        self.proxy = proxy
        self.control = control
        self.certificates = certificates
        self.conductor = Conductor(
            news: news, trustDomain: trustDomain, registry: registry, views: views, certificates: certificates,
            refusals: refusals,
            steering: steering, telemetry: telemetry, proxy: proxy, watch: watch, reloader: reloader,
            sockets: sockets, upkeep: upkeep, canary: canary, supervision: supervision, handOver: handOver,
            names: nameService, logger: logger)
        self.crashKeeper = crashKeeper
        self.loops = loops
        self.events = events
        self.watch = watch
        self.canary = canary
        self.names = nameService
        self.inventory = Inventory(
            settings: configuration, reloader: reloader, logs: logs, telemetry: telemetry, events: events,
            sockets: sockets, canary: canary,
            startedAt: Date(), loops: loops, proxy: proxy, steering: steering, registry: registry, views: views,
            control: control, certificateManager: certificates, refusals: refusals, direct: path,
            health: self.health, freshness: freshness, keeper: keeper, handOver: handOver,
            nameService: nameService)
    }

    static func beginMeasuring(_ configuration: AgentConfiguration) {
        Proxy.beginMeasuring(Self.proxyConfiguration(configuration, loops: 1))
    }

    private static func proxyConfiguration(_ configuration: AgentConfiguration, loops: Int) -> ProxyConfiguration {
        var proxy = ProxyConfiguration(
            loops: loops, tunnelListener: SocketAddress(ip: IPAddress(high: 0, low: 0), port: MeshPorts.tunnel))
        switch configuration.unknownDestination {
        case .refuse: proxy.unknownDestination = .refuse
        case .passthrough: proxy.unknownDestination = .passthrough
        }
        proxy.aead =
            switch configuration.aead {
            case .automatic: .automatic
            case .openssl: .openssl
            case .ipsecmb: .ipsecmb
            }
        proxy.handshakeThreads =
            configuration.handshakeThreads > 0
            ? configuration.handshakeThreads : max(1, ProcessInfo.processInfo.activeProcessorCount / 4)
        proxy.tunnelPool.isReused = configuration.tunnelReuse
        proxy.tunnelPool.makesSpare = configuration.tunnelAhead
        proxy.tunnelPool.idleTimeout = .seconds(configuration.tunnelIdleTimeout)
        proxy.engine =
            switch configuration.engine {
            case .automatic: .automatic
            case .user: .user
            case .kernel: .kernel
            }
        proxy.maxConnections = configuration.maxConnections > 0 ? configuration.maxConnections : nil
        proxy.traceSampling = configuration.traceSettings?.sampling ?? 0
        proxy.connectTimeout = .seconds(configuration.connectTimeout)
        proxy.halfClosedTimeout = .seconds(configuration.halfCloseTimeout)
        proxy.idleTimeout = configuration.idleTimeout > 0 ? .seconds(configuration.idleTimeout) : nil
        return proxy
    }

    /// nil: there are none, or those that there are cannot be used; names are then asked of their resolvers until the
    /// namespaces are attached.
    private static func names(of inheritance: borrowing Inheritance, logger: Logger) -> CarriedNames? {
        switch inheritance.names {
        case .success(let names): return names
        case .failure(let error):
            logger.error("the sockets for names cannot be taken over", metadata: ["reason": "\(error)"])
            return nil
        case nil: return nil
        }
    }

    private static func limit(_ configuration: AgentConfiguration) -> Duration? {
        configuration.maxStaleness > 0 ? .seconds(configuration.maxStaleness) : nil
    }

    private static func traces(
        _ configuration: AgentConfiguration, _ telemetry: ConnectionTelemetry, _ logger: Logger
    ) throws(AgentError) -> TraceExporter? {
        guard let settings = configuration.traceSettings else {
            TraceExporter.registerNone(telemetry.registry)
            return nil
        }
        do throws(TraceExportError) {
            let exporter = try TraceExporter(
                settings, node: configuration.node, registry: telemetry.registry, logger: logger)
            telemetry.setOnEnded { exporter.ended($0) }
            return exporter
        } catch {
            throw AgentError("traces cannot be sent: \(error)")
        }
    }

    private static func identities(
        of entries: [WorkloadRegistry.Entry], trustDomain: String
    ) -> [WorkloadID: SPIFFEID] {
        var identities: [WorkloadID: SPIFFEID] = [:]
        for entry in entries { identities[entry.id] = entry.identity(in: trustDomain) }
        return identities
    }
}

extension WorkloadRegistry.Entry {
    /// nil when its namespace is gone.
    fileprivate var directEnd: LocalPath.Enrolled? {
        guard let cookie = try? self.workload.namespace.cookie() else { return nil }
        let end = DirectPlanner.End(
            id: self.id, key: self.key, namespaceCookie: cookie, addresses: self.workload.addresses)
        return (end, self.workload.namespace, self.request.accelerate == nil ? nil : self.workload.cgroup.path)
    }
}

// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshAdminAPI
import MeshConfiguration
import MeshDNS
import MeshLinux
import MeshModel
import MeshSteering
import MeshTelemetry
import Synchronization

/// Answers names in the namespaces of workloads that want it, and tells the kernel where.
package final class NameService: Sendable {
    private struct Member {
        var key: UInt32
        var namespace: NetworkNamespace
        /// Why names are not answered there.
        var problem: String?
    }

    private struct State {
        var members: [WorkloadID: Member] = [:]
        var figures = NameServerStatus()
        /// When a workload's refusals were last told of.
        var told: [UInt32: UInt64] = [:]
        var didChange: @Sendable () -> Void = {}
    }

    let server: NameServer
    let domain: DNSName
    private let steering: Steering
    private let logger: Logger
    private let events: EventHub
    private let names: WorkloadNames
    private let state = Mutex(State())
    /// One workload at a time: attaching opens sockets.
    private let attaching = Mutex(())

    /// Nanoseconds between events of one workload's refused queries.
    private static let telling: UInt64 = 10_000_000_000

    /// - Parameter carried: the sockets of the daemon before.
    init(
        _ configuration: AgentConfiguration, steering: Steering, registry: MetricsRegistry, events: EventHub,
        names: WorkloadNames, carried: CarriedNames?, logger: Logger
    ) throws {
        guard let domain = DNSName(configuration.dnsDomain) else {
            throw AgentError("dnsDomain: '\(configuration.dnsDomain)' is not a domain name")
        }
        var settings = NameServerConfiguration(
            ports: steering.resolverPorts, domain: domain,
            aliases: configuration.dnsAliases.compactMap { DNSName($0) },
            timeToLive: UInt32(clamping: configuration.dnsTTL))
        settings.resolver.cacheSize = configuration.dnsCacheSize
        settings.resolver.staleLifetime = UInt32(clamping: configuration.dnsStale)
        let telemetry = NameTelemetry(registry)
        let resolvers = NodeResolvers(configured: configuration.dnsUpstreams)
        let refusals = Refusals()
        let hooks = NameServerHooks(
            datagramOrigin: { cookie, port, place, isIPv4 in
                steering.asked(in: cookie, port: port, place: place, isIPv4: isIPv4)
                    .map { ($0.address, $0.workloadKey) }
            },
            streamOrigin: { socket in steering.originalDestination(of: socket).map { ($0.address, $0.workloadKey) } },
            nodeResolvers: { resolvers.current },
            onAnswer: { report, nanoseconds in
                telemetry.answered(report, nanoseconds: nanoseconds)
                if report.isLimited { refusals.tell(report.workload) }
            },
            onAttempt: { telemetry.asked(isStream: $0) }, onFailure: { telemetry.failed($0, $1) })
        self.server = try NameServer(configuration: settings, hooks: hooks, logger: logger)
        self.domain = domain
        self.steering = steering
        self.events = events
        self.names = names
        self.logger = logger
        refusals.service.withLock { $0 = self }
        telemetry.watch(registry) { [weak self] in self?.state.withLock { $0.figures } ?? NameServerStatus() }
        try self.server.start()
        if let carried { self.server.adopt(carried) }
    }

    /// - Parameter told: whenever the sockets may be others than before.
    func onChange(_ told: @escaping @Sendable () -> Void) { self.state.withLock { $0.didChange = told } }

    /// The server's hooks are made before what they tell.
    private final class Refusals: Sendable {
        let service = Mutex<NameService?>(nil)
        func tell(_ workload: UInt32) { self.service.withLock { $0 }?.limited(workload) }
    }

    func stop() { self.server.stop() }

    /// Every workload that comes back has come.
    func adoptionComplete() { self.server.adoptionComplete() }

    /// Its thread, for the watchdog.
    var pulse: PulseCheck.Part { PulseCheck.Part("nm-names", ask: self.server.ping) }

    // MARK: Workloads

    /// Answers a workload's names. Where that cannot be, the reason is logged, it asks its own resolvers, and
    /// ``retry()`` tries again.
    func attach(_ id: WorkloadID, key: UInt32, namespace: NetworkNamespace) {
        self.attaching.withLock { _ in
            let former = self.state.withLock { $0.members[id]?.problem }
            let problem = self.open(id, key: key, namespace: namespace)
            if let problem, problem != former {
                self.logger.error(
                    "a workload's names are not answered: it asks its own resolvers",
                    metadata: ["workload.id": "\(id)", "reason": "\(problem)"])
            } else if problem == nil, former != nil {
                self.logger.notice("a workload's names are answered now", metadata: ["workload.id": "\(id)"])
            }
            self.state.withLock { $0.members[id] = Member(key: key, namespace: namespace, problem: problem) }
        }
    }

    private func open(_ id: WorkloadID, key: UInt32, namespace: NetworkNamespace) -> String? {
        do throws(NameServerError) {
            let listeners = try self.server.attach(namespace)
            do throws(SteeringError) {
                try self.steering.setResolvers(key, ipv4: listeners.ipv4, ipv6: listeners.ipv6)
                self.state.withLock { $0.didChange }()
                return nil
            } catch {
                return "\(error)"
            }
        } catch {
            return "\(error)"
        }
    }

    func detach(_ id: WorkloadID) {
        self.attaching.withLock { _ in
            let left = self.state.withLock { state -> UInt64? in
                guard let member = state.members.removeValue(forKey: id) else { return nil }
                let inode = member.namespace.inode
                return state.members.values.contains { $0.namespace.inode == inode } ? nil : inode
            }
            if let left { self.server.detach(left) }
        }
    }

    /// Tries again what could not be had, and takes the figures for metrics; for now and then.
    func look() async {
        for (id, member) in self.state.withLock({ $0.members.filter { $0.value.problem != nil } }) {
            self.attach(id, key: member.key, namespace: member.namespace)
        }
        guard let figures = await self.server.status() else { return }
        self.state.withLock { $0.figures = figures }
    }

    /// A query was refused since too many wait.
    private func limited(_ workload: UInt32) {
        let now = Clock.monotonic
        let isNews = self.state.withLock { state in
            if let last = state.told[workload], now &- last < Self.telling { return false }
            if state.told.count > 4_096 { state.told = [:] }
            state.told[workload] = now
            return true
        }
        guard isNews else { return }
        let name = self.names.name(workload)
        self.events.publish(
            NodeEvent(
                time: EventTime.text(Clock.wall), kind: "decision", reason: "dns_limited", workload: name?.workload,
                identity: name?.identity, detail: "too many of its queries wait for an answer: they are refused"))
    }

    // MARK: Operators

    func status(_ settings: AgentConfiguration) async -> DNSStatus {
        let figures = await self.server.status() ?? NameServerStatus()
        let members = self.state.withLock { $0.members }
        return DNSStatus(
            isOn: true, domain: settings.dnsDomain, aliases: settings.dnsAliases,
            upstreams: figures.upstreams.map(\.description), down: figures.down.map(\.description).sorted(),
            cacheEntries: figures.cacheEntries, cacheCapacity: settings.dnsCacheSize, waiting: figures.waiting,
            workloads: members.map { id, member in
                DNSStatus.Workload(workload: id.description, problem: member.problem)
            }.sorted { $0.workload < $1.workload })
    }

    /// Looks a name up as a workload would have it: with its key, or as nobody in particular.
    func lookup(_ name: DNSName, _ type: RecordType, for workload: WorkloadID?, resolver: IPAddress?) async
        -> DNSLookup?
    {
        var asker = Asker(workload: 0, resolver: nil)
        if let workload, let member = self.state.withLock({ $0.members[workload] }) {
            asker.workload = member.key
            if let resolver { asker.resolver = Upstream(address: resolver, namespace: member.namespace.inode) }
        }
        guard let found = await self.server.lookup(DNSQuestion(name: name, type: type), by: asker) else { return nil }
        return DNSLookup(
            name: name.description, type: type.description, result: NameTelemetry.result(found.report),
            source: found.report.source.rawValue, milliseconds: Double(found.duration) / 1e6,
            records: RecordText.lines(of: found.message).map {
                DNSLookup.Record(name: $0.name, type: $0.type, timeToLive: $0.timeToLive, data: $0.data)
            })
    }

    /// The problem of a workload whose names should be answered, and are not.
    func problem(of id: WorkloadID) -> String? { self.state.withLock { $0.members[id]?.problem } }

    var isKnown: @Sendable (WorkloadID) -> Bool {
        { id in self.state.withLock { $0.members[id] != nil } }
    }
}

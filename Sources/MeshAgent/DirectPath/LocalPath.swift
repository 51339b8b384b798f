// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshLinux
import MeshModel
import MeshProxy
import MeshSteering

/// Lets connections between workloads of this node pass the proxy by, once it has carried one of them: writes verdicts
/// for the eBPF programs, takes them back when the mesh changes, ends open connections that are denied now, and tells
/// telemetry of each as the proxy would.
package actor LocalPath {
    /// An enrolled workload.
    struct Local: Sendable {
        var end: DirectPlanner.End
        let namespace: NetworkNamespace
        /// Where it asks for acceleration: its cgroup.
        let accelerated: String?
    }

    /// A workload, its namespace, and its cgroup where it asks for acceleration.
    package typealias Enrolled = (end: DirectPlanner.End, namespace: NetworkNamespace, accelerated: String?)

    /// Connections of one workload to one address.
    struct Course: Hashable {
        var source: WorkloadID
        var dialled: SocketAddress
    }

    struct Pair: Hashable {
        var source: UInt64
        var target: UInt64
        var isIPv4: Bool
    }

    struct Open {
        var connection: DirectConnection
        var record: ConnectionRecord
        /// Why nodemeshd ends it.
        var ending: (reason: CloseReason, detail: String?)?
        /// The generation under which it was last judged.
        var judged: UInt32
        /// Looks in a row that did not find it in the kernel.
        var missed = 0
    }

    /// Whom connections are reported to.
    package struct Reports: Sendable {
        package var opened: @Sendable (ConnectionRecord) -> Void
        package var closed: @Sendable (ConnectionRecord) -> Void
        package var ejections: @Sendable () -> [EndpointEjection]

        package init(
            opened: @escaping @Sendable (ConnectionRecord) -> Void,
            closed: @escaping @Sendable (ConnectionRecord) -> Void,
            ejections: @escaping @Sendable () -> [EndpointEjection]
        ) {
            self.opened = opened
            self.closed = closed
            self.ejections = ejections
        }
    }

    /// Verdicts kept at one time; the kernel's map has as many.
    static let maxCourses = 16_384
    /// After a direct connect failed, the proxy, which knows other endpoints, gets the next ones; twice as long each time.
    static let holdOff = UInt64(10_000_000_000)
    /// How long a path that was tried counts as open, and as closed.
    static let openAge = UInt64(60_000_000_000)
    /// How long the namespace of a workload that was unenrolled is kept, for connections that were just being made.
    static let farewell = UInt64(3_000_000_000)
    static let closedAge = UInt64(20_000_000_000)

    /// For the proxy.
    nonisolated let shares = DirectShares()
    let steering: Steering
    let reports: Reports
    let logger: Logger
    let isOn: Bool
    /// The view is too old to decide by it: no new connection may pass the proxy by, which refuses it.
    var isSuspended = false
    /// Whether packets may skip the host's side of veth pairs.
    let redirects: Bool
    /// Bytes that may wait unread in an accelerated connection.
    let sockmapCap: UInt64
    /// Nil as long as nobody asks for acceleration.
    var isSockmapReady: Bool?
    /// A program of each workload that asks for acceleration and must not have it.
    var unfit: [WorkloadID: String] = [:]
    var redirected: [WorkloadID: [(address: IPAddress, interface: UInt32)]] = [:]
    var snapshot: MeshSnapshot?
    var locals: [WorkloadID: Local] = [:]
    var names: [UInt32: WorkloadID] = [:]
    /// Network namespaces of workloads that are being unenrolled.
    var departing: [WorkloadID: (namespace: NetworkNamespace, at: UInt64)] = [:]
    /// The workloads of the last run are back.
    var knowsWorkloads = false
    /// What came before the mesh and the workloads were known; bounded.
    var early: [SteeringEvent] = []
    /// Nanoseconds since the Unix epoch: keys of older connections are of an earlier run.
    let startedAt = Clock.wall
    var generation: UInt32
    var courses: [Course: [DirectVerdict.Target]] = [:]
    var heldUntil: [Course: UInt64] = [:]
    /// Direct connects that failed since one went well.
    var failures: [Course: Int] = [:]
    var paths: [Pair: (isOpen: Bool, at: UInt64)] = [:]
    var trying: Set<Pair> = []
    var ejections: Set<SocketAddress> = []
    var flows: [DirectConnection.ID: Open] = [:]
    /// Ended by ``sweep()``; their event may still come.
    var buried: [DirectConnection.ID] = []
    /// Large, so that no connection of the proxy has the same one, and exact in JSON.
    private var lastID: UInt64 = 1 << 48

    /// Takes every verdict of an earlier run back: its keys may be somebody else's now. To be made before workloads are
    /// enrolled.
    package init(
        steering: Steering, isOn: Bool, redirects: Bool = false, sockmapCap: Int, reports: Reports, logger: Logger
    ) throws(SteeringError) {
        self.steering = steering
        self.reports = reports
        self.logger = logger
        self.generation = steering.directGeneration &+ 1
        var isOn = isOn
        if isOn, !SocketDiagnostics.canDestroy {
            logger.warning(
                "the direct path stays off: this kernel (without CONFIG_INET_DIAG_DESTROY) could not end connections that a policy denies later"
            )
            isOn = false
        }
        self.isOn = isOn
        self.redirects = redirects && isOn
        self.sockmapCap = UInt64(sockmapCap)
        // What an earlier run left, whose configuration may have been another.
        steering.detachRedirects()
        try steering.setDirectPath(isOn: isOn, generation: self.generation)
        try steering.removeVerdicts()
        // An earlier run's limits may have been others.
        try steering.stopSockmap()
        // Probes of paths that the last run did not finish.
        for flow in try steering.directFlows() where !flow.isVerdict && flow.cookie == 0 { try steering.forget(flow) }
    }

    func nextID() -> UInt64 {
        self.lastID += 1
        return self.lastID
    }

    // MARK: - What changes

    /// All workloads that are enrolled now.
    package func update(workloads: [Enrolled]) {
        self.locals = Dictionary(
            workloads.map {
                ($0.end.id, Local(end: $0.end, namespace: $0.namespace, accelerated: $0.accelerated))
            }, uniquingKeysWith: { $1 })
        self.updateAcceleration()
        self.knowsWorkloads = true
        // Those of workloads that are long gone.
        if self.names.count > Self.maxCourses { self.names = [:] }
        for local in self.locals.values { self.names[local.end.key] = local.end.id }
        let cookies = Set(self.locals.values.map(\.end.namespaceCookie))
        self.paths = self.paths.filter { cookies.contains($0.key.source) && cookies.contains($0.key.target) }
        self.updateRedirects()
        self.replan()
        self.catchUp()
    }

    package func update(_ snapshot: MeshSnapshot) {
        self.snapshot = snapshot
        self.replan()
        self.judgeAll()
        self.catchUp()
    }

    package func setSuspended(_ isSuspended: Bool) {
        guard self.isSuspended != isSuspended else { return }
        self.isSuspended = isSuspended
        self.replan()
    }

    /// The proxy has just carried a connection between two workloads of this node.
    package func proxied(_ record: ConnectionRecord) {
        // A server that listens on the other family only is the proxy's business.
        guard record.wire == .local, let source = record.source,
            record.upstream?.ip.isIPv4 == record.destination.ip.isIPv4
        else { return }
        let course = Course(source: source, dialled: record.destination)
        if let until = self.heldUntil[course] {
            if until > Clock.monotonic { return }
            self.heldUntil[course] = nil
        }
        self.plan(course)
    }

    // MARK: - Planning

    /// What the present state says; also for explanations.
    package var planner: DirectPlanner? {
        guard let snapshot = self.snapshot else { return nil }
        let paths = self.paths.mapValues(\.isOpen)
        return DirectPlanner(
            isOn: self.isOn && !self.isSuspended, snapshot: snapshot, ends: self.locals.mapValues(\.end),
            ejections: self.reports.ejections()
        ) { source, target, address in
            source.namespaceCookie == target.namespaceCookie
                || paths[Pair(source.namespaceCookie, target.namespaceCookie, address)] == true
        }
    }

    /// Writes the verdict for a course, or tries the paths first that it would need.
    private func plan(_ course: Course) {
        guard self.isOn, !self.isSuspended else { return }
        self.updateAcceleration()
        guard let planner = self.planner else { return }
        self.tryPaths(for: course)
        let targets = (try? planner.targets(from: course.source, to: course.dialled)) ?? []
        if targets.isEmpty, self.courses[course] == nil { return }
        if self.courses[course] == nil, self.courses.count >= Self.maxCourses { return }
        self.write(course, targets)
    }

    func write(_ course: Course, _ targets: [DirectVerdict.Target]) {
        guard let key = self.locals[course.source]?.end.key else {
            if let key = self.names.first(where: { $0.value == course.source })?.key {
                self.shares.set(key, course.dialled, [])
            }
            self.courses[course] = nil
            return
        }
        let given = targets.reduce(0) { $0 + $1.share }
        self.shares.set(
            key, course.dialled,
            given < DirectVerdict.shares ? Set(targets.compactMap { self.names[$0.key] }) : [])
        do throws(SteeringError) {
            try self.steering.setVerdict(
                source: key, destination: course.dialled,
                targets.isEmpty ? nil : DirectVerdict(generation: self.generation, targets: targets))
            self.courses[course] = targets.isEmpty ? nil : targets
        } catch {
            // Without it the proxy goes on deciding.
            self.courses[course] = nil
            self.logger.error("a verdict cannot be written", metadata: ["reason": "\(error)"])
        }
    }

    /// Works every verdict out again. If one has changed, the others are stale for the moment that it takes to write them.
    func replan() {
        guard let planner = self.planner else { return }
        self.ejections = Set(planner.ejections.map(\.address))
        var wanted: [Course: [DirectVerdict.Target]] = [:]
        for course in self.courses.keys {
            wanted[course] = (try? planner.targets(from: course.source, to: course.dialled)) ?? []
        }
        if wanted == self.courses { return }
        self.generation &+= 1
        do throws(SteeringError) {
            try self.steering.setDirectPath(isOn: self.isOn, generation: self.generation)
        } catch {
            self.logger.error("verdicts cannot be made stale", metadata: ["reason": "\(error)"])
        }
        for (course, targets) in wanted { self.write(course, targets) }
    }

    // MARK: - Paths

    /// Finds out which of the workloads that back an address can be reached, unless that is known.
    private func tryPaths(for course: Course) {
        guard let snapshot = self.snapshot, let source = self.locals[course.source] else { return }
        var servers: [(Local, IPAddress)] = []
        let route = snapshot.resolve(course.dialled) { set in
            for endpoint in set.endpoints {
                if case .local = endpoint.path, let local = self.locals[endpoint.workload.id] {
                    servers.append((local, endpoint.address.ip))
                }
            }
            return nil
        }
        if case .success(let route) = route, let id = route.workload?.id, let local = self.locals[id] {
            servers.append((local, route.address.ip))
        }
        for (server, address) in servers.prefix(DirectVerdict.maxTargets) {
            guard let own = source.end.addresses.first(where: { $0.isIPv4 == address.isIPv4 }) else { continue }
            let pair = Pair(source.end.namespaceCookie, server.end.namespaceCookie, address)
            if pair.source == pair.target || self.trying.contains(pair) { continue }
            if let known = self.paths[pair],
                Clock.monotonic - known.at < (known.isOpen ? Self.openAge : Self.closedAge)
            {
                continue
            }
            self.trying.insert(pair)
            let steering = self.steering
            Task.detached {
                let isOpen = PathProbe.isOpen(
                    from: (source.namespace, .init(SocketAddress(ip: own, port: 0))),
                    to: (server.namespace, .init(SocketAddress(ip: address, port: 0)))
                ) { client, server, isOn in
                    do throws(SteeringError) {
                        try steering.admitProbe(
                            from: SocketAddress(client), to: SocketAddress(server), namespaceCookie: pair.target,
                            isOn: isOn)
                        return true
                    } catch {
                        return false
                    }
                }
                await self.tried(pair, isOpen: isOpen, for: course)
            }
        }
    }

    private func tried(_ pair: Pair, isOpen: Bool, for course: Course) {
        self.trying.remove(pair)
        let before = self.paths[pair]?.isOpen
        self.paths[pair] = (isOpen, Clock.monotonic)
        if before != nil, before != isOpen { self.replan() }
        if isOpen { self.plan(course) }
    }
}

extension LocalPath.Pair {
    init(_ source: UInt64, _ target: UInt64, _ address: IPAddress) {
        self.init(source: source, target: target, isIPv4: address.isIPv4)
    }
}

// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshLinux
import MeshModel
import MeshProxy
import MeshSteering

/// Open direct connections.
extension LocalPath {
    // MARK: - Events

    package func handle(_ event: SteeringEvent) {
        guard self.knowsWorkloads, self.snapshot != nil else {
            if self.early.count < Self.maxCourses { self.early.append(event) }
            return
        }
        guard let connection = DirectConnection(event) else { return }
        switch event.kind {
        case .decision:
            if event.reason == .sockmapStalled { self.stalled(connection.id) }
        case .directOpened: self.opened(connection)
        case .directClosed: self.closed(connection, DirectEnding(event))
        }
    }

    /// Goes through what came too early, as soon as it can be told whose it is.
    func catchUp() {
        guard self.knowsWorkloads, self.snapshot != nil, !self.early.isEmpty else { return }
        let events = self.early
        self.early = []
        for event in events { self.handle(event) }
    }

    private func opened(_ connection: DirectConnection) {
        if self.flows[connection.id] != nil || self.buried.contains(connection.id) { return }
        self.adopt(connection)
    }

    private func closed(_ connection: DirectConnection, _ ending: DirectEnding) {
        if self.buried.contains(connection.id) { return }
        let open = self.flows.removeValue(forKey: connection.id)
        let isFailure =
            switch ending.end {
            case .refused, .timedOut: open == nil
            case .none, .client, .server, .clientReset, .serverReset, .destroyed: false
            }
        var record = open?.record ?? self.record(of: connection)
        // The event of its beginning was lost.
        if open == nil, !isFailure { self.reports.opened(record) }
        record.bytesSent = ending.bytesSent
        record.bytesReceived = ending.bytesReceived
        record.duration = ending.duration
        if ending.isAccelerated { record.engine = .sockmap }
        let words = open?.ending ?? ending.words(wasOpen: !isFailure)
        record.reason = words.reason
        record.detail = words.detail
        self.reports.closed(record)
        if isFailure, let source = record.source {
            let course = Course(source: source, dialled: connection.dialled)
            let failures = self.failures[course, default: 0]
            self.failures[course] = min(failures + 1, 5)
            self.heldUntil[course] = Clock.monotonic + (Self.holdOff << UInt64(failures))
            if self.courses[course] != nil { self.write(course, []) }
        }
    }

    /// Tells telemetry of a connection that is open, and judges it: its address may be one that no verdict was made for.
    private func adopt(_ connection: DirectConnection) {
        let record = self.record(of: connection)
        self.flows[connection.id] = Open(connection: connection, record: record, judged: self.generation)
        self.reports.opened(record)
        if let source = record.source, !self.failures.isEmpty {
            self.failures[Course(source: source, dialled: connection.dialled)] = nil
        }
        self.judge(connection.id)
    }

    private func record(of connection: DirectConnection) -> ConnectionRecord {
        var record = ConnectionRecord(
            id: self.nextID(), direction: .outbound, sourceAddress: connection.id.client,
            destination: connection.dialled, wire: .direct, openedAt: connection.openedAt)
        if connection.openedAt >= self.startedAt {
            // Keys of workloads that are gone stay known: their last events come later.
            record.source = self.names[connection.source]
            record.destinationWorkload = self.names[connection.target]
        } else {
            record.source = self.workload(at: connection.id.client.ip, in: connection.clientNamespace)
            record.destinationWorkload = self.workload(
                at: connection.id.server.ip, in: connection.id.serverNamespace)
        }
        record.upstream = connection.id.server
        guard let snapshot = self.snapshot else { return record }
        record.sourceIdentity = record.source.flatMap { snapshot.workload($0)?.identity }
        record.destinationIdentity = record.destinationWorkload.flatMap { snapshot.workload($0)?.identity }
        record.service = snapshot.service(at: connection.dialled.ip)?.id
        if let source = record.source, let target = record.destinationWorkload {
            if let decision = self.decide(connection.id, source: source, target: target) { record.note(decision) }
            // The run in which it began has counted it.
            if connection.openedAt < self.startedAt { record.policyReason = nil }
        }
        return record
    }

    /// The only workload in a namespace, or the only one with an address.
    private func workload(at address: IPAddress, in namespace: UInt64?) -> WorkloadID? {
        let there = self.locals.values.filter { $0.end.namespaceCookie == namespace }
        if there.count == 1 { return there.first?.end.id }
        let same = self.locals.values.filter { $0.end.addresses.contains(address) }
        return same.count == 1 ? same.first?.end.id : nil
    }

    /// What policy says of a connection now; nil when a workload is not known any more.
    private func decide(_ id: DirectConnection.ID, source: WorkloadID, target: WorkloadID) -> PolicyDecision? {
        guard let snapshot = self.snapshot, self.locals[source] != nil, self.locals[target] != nil,
            let client = snapshot.workload(source), let server = snapshot.workload(target)
        else { return nil }
        return snapshot.decide(
            PolicyInput(sourceIdentity: client.identity, sourceIP: id.client.ip, destination: id.server), for: server)
    }

    // MARK: - Ending

    func judgeAll() {
        for id in Array(self.flows.keys) { self.judge(id) }
    }

    /// Ends a connection that no policy allows any more.
    private func judge(_ id: DirectConnection.ID) {
        guard let open = self.flows[id], open.ending == nil else { return }
        self.flows[id]?.judged = self.generation
        guard let source = open.record.source, let target = open.record.destinationWorkload else { return }
        for workload in [source, target] where self.locals[workload] == nil {
            return self.end(id, .workloadGone, "workload \(workload) is not enrolled any more")
        }
        guard let decision = self.decide(id, source: source, target: target)
        else { return }
        self.flows[id]?.record.policy = decision.policy
        if decision.isAllowed { return }
        let text = decision.policy.map { "policy \($0) denies it now" } ?? "no policy allows it now"
        self.end(id, .policyDenied, text)
    }

    /// Ends every direct connection of a workload that is about to be unenrolled, and lets no new one begin.
    package func willDetach(_ id: WorkloadID) {
        for course in Array(self.courses.keys) where course.source == id { self.write(course, []) }
        if let local = self.locals.removeValue(forKey: id) {
            self.departing[id] = (local.namespace, Clock.monotonic)
        }
        self.replan()
        self.look()
        for (flow, open) in self.flows where open.record.source == id || open.record.destinationWorkload == id {
            self.end(flow, .workloadGone, "workload \(id) was unenrolled")
        }
        self.endConnecting(of: id)
    }

    /// Ends what a workload is just connecting directly: its programs, which clear up after it, are about to go.
    private func endConnecting(of id: WorkloadID) {
        guard let namespace = self.departing[id]?.namespace, let present = try? self.steering.directFlows(),
            let diagnostics = try? SocketDiagnostics(in: namespace)
        else { return }
        for flow in present where flow.isVerdict && !flow.isEstablished && self.names[flow.source] == id {
            _ = try? diagnostics.destroy(local: .init(flow.client), remote: .init(flow.server), cookie: flow.cookie)
        }
    }

    func end(_ id: DirectConnection.ID, _ reason: CloseReason, _ detail: String) {
        guard let open = self.flows[id] else { return }
        self.flows[id]?.ending = (reason, detail)
        guard let namespace = self.namespace(of: open) else { return }
        do throws(SystemError) {
            // Its end comes as an event.
            try SocketDiagnostics(in: namespace).destroy(
                local: .init(id.client), remote: .init(id.server), cookie: id.cookie)
        } catch {
            self.logger.error(
                "a direct connection that has to end cannot be ended",
                metadata: ["source": "\(id.client)", "destination": "\(id.server)", "reason": "\(error)"])
        }
    }

    /// Where the client's socket lives.
    private func namespace(of open: Open) -> NetworkNamespace? {
        open.record.source.flatMap { self.locals[$0]?.namespace ?? self.departing[$0]?.namespace }
    }

    // MARK: - Looking

    /// Compares with the kernel: finds connections whose events were lost, or that are older than this daemon. To be
    /// called about once a second.
    package func sweep() {
        guard self.knowsWorkloads, self.snapshot != nil else { return }
        if self.updateAcceleration() { self.replan() }
        self.look()
        let now = Clock.monotonic
        self.departing = self.departing.filter { now - $0.value.at < Self.farewell }
        self.heldUntil = self.heldUntil.filter { $0.value > now }
        if self.failures.count > Self.maxCourses { self.failures = [:] }
        if Set(self.reports.ejections().map(\.address)) != self.ejections { self.replan() }
        for (id, open) in self.flows where open.judged != self.generation { self.judge(id) }
    }

    private func look() {
        let present: [DirectFlow]
        do throws(SteeringError) {
            present = try self.steering.directFlows()
        } catch {
            self.logger.error("direct connections cannot be listed", metadata: ["reason": "\(error)"])
            return
        }
        var seen: Set<DirectConnection.ID> = []
        for flow in present where flow.isVerdict && flow.isEstablished {
            let connection = DirectConnection(flow)
            seen.insert(connection.id)
            self.flows[connection.id]?.missed = 0
            if self.flows[connection.id] == nil { self.adopt(connection) }
            // The event may have been lost.
            if flow.isStalled { self.stalled(connection.id) }
            if flow.isAccelerated { self.flows[connection.id]?.record.engine = .sockmap }
        }
        for id in Array(self.flows.keys) where !seen.contains(id) { self.miss(id) }
    }

    /// Once may be a moment's difference to the event; twice means that it was lost.
    private func miss(_ id: DirectConnection.ID) {
        self.flows[id]?.missed += 1
        guard let open = self.flows[id], open.missed > 2 else { return }
        self.flows[id] = nil
        self.buried.append(id)
        if self.buried.count > 1_024 { self.buried.removeFirst(512) }
        var record = open.record
        let wall = Clock.wall
        record.duration = wall - min(wall, record.openedAt)
        record.reason = open.ending?.reason ?? .endUnseen
        record.detail = open.ending?.detail
        self.reports.closed(record)
    }

    // MARK: - Listing

    package var openCount: Int { self.flows.count }

    /// The open connections with their present byte counts.
    package func connections() -> [ConnectionRecord] {
        // TCP knows nothing of what went through a socket map.
        let accelerated = ((try? self.steering.directFlows()) ?? []).filter(\.isAccelerated)
        let redirected = Dictionary(
            accelerated.map { (DirectConnection($0).id, $0.redirected) }, uniquingKeysWith: { $1 })
        var figures: [UInt64: DiagnosedSocket.Figures] = [:]
        let sources = Set(self.flows.values.compactMap(\.record.source))
        var looked: Set<UInt64> = []
        for source in sources {
            guard let local = self.locals[source], looked.insert(local.end.namespaceCookie).inserted,
                let sockets = try? SocketDiagnostics.dump(
                    in: local.namespace, states: Self.living, withFigures: true)
            else { continue }
            for socket in sockets { figures[socket.cookie] = socket.figures }
        }
        return self.flows.map { id, open in
            var record = open.record
            if let known = figures[id.cookie] {
                // The kernel counts the SYN.
                record.bytesSent = known.bytesAcknowledged - min(1, known.bytesAcknowledged)
                record.bytesReceived = known.bytesReceived
            }
            if let bytes = redirected[id] {
                record.engine = .sockmap
                record.bytesSent += bytes.sent
                record.bytesReceived += bytes.received
            }
            return record
        }
    }

    private static let living: Set<DiagnosedSocket.State> = [
        .established, .finWait1, .finWait2, .closeWait, .closing, .lastAck,
    ]
}

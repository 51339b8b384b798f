// SPDX-License-Identifier: Apache-2.0
import Logging
import MeshLinux
import MeshModel
import Synchronization

/// Which endpoint of a service a connection goes to, whether the service takes it, and what is learned from how it went.
extension LoopCore {
    // MARK: - Choosing

    /// Where a connection goes; remembers the endpoint.
    func route(_ connection: Connection, _ view: ProxyView) -> Result<Route, RouteFailure> {
        let tried = connection.setup?.tried ?? []
        self.leaveEndpoint(connection)
        connection.setup?.isOtherFamily = false
        let direct = tried.isEmpty ? self.directServers(of: connection) : []
        let result = view.snapshot.resolve(connection.record.destination) { set in
            let service = self.bound(set)
            var choice = direct.isEmpty ? nil : service.choose(excluding: direct, now: self.now, &self.random)
            if choice == nil { choice = service.choose(excluding: tried, now: self.now, &self.random) }
            guard let index = choice else { return nil }
            let endpoint = service.endpoints[index]
            endpoint.began()
            connection.traffic.endpoint = endpoint
            connection.traffic.isObserved = set.endpoints.count > 1
            connection.setup?.connectTimeout = set.policy?.connectTimeout?.nanoseconds
            connection.setup?.policy = set.policy
            return index
        }
        guard case .success(var route) = result, connection.traffic.endpoint?.usesOtherFamily == true,
            let other = route.otherFamily
        else { return result }
        connection.setup?.isOtherFamily = true
        route.address = other
        return .success(route)
    }

    private func directServers(of connection: Connection) -> Set<WorkloadID> {
        guard let hook = self.settings.hooks.directServers, let source = connection.workload,
            case .capturedOutbound = connection.machine.origin
        else { return [] }
        return hook(source.key, connection.record.destination)
    }

    /// A service has addresses of both families whatever its applications listen on: where one refuses the workload's
    /// address of the dialled family, the other one is tried, and remembered.
    ///
    /// - Returns: whether the endpoint is worth another attempt, and has not failed yet.
    func triesOtherFamily(_ connection: Connection, _ reason: CloseReason) -> Bool {
        guard let endpoint = connection.traffic.endpoint, let setup = connection.setup else { return false }
        if setup.isOtherFamily {
            if reason == .connectRefused { endpoint.usesOtherFamily = false }
            return false
        }
        guard reason == .connectRefused, let id = connection.record.destinationWorkload,
            let addresses = self.view?.snapshot.workload(id)?.addresses, Set(addresses.map(\.family)).count > 1
        else { return false }
        endpoint.usesOtherFamily = true
        return true
    }

    func bound(_ set: EndpointSet) -> BoundService {
        if let known = self.boundServices[set.id] { return known }
        let new = self.settings.traffic.endpoints.bind(set)
        self.boundServices[set.id] = new
        return new
    }

    private func leaveEndpoint(_ connection: Connection) {
        connection.traffic.endpoint?.ended()
        connection.traffic.endpoint = nil
    }

    // MARK: - Admitting

    /// Asks the service's limits, once for each connection, and the budget of further attempts.
    ///
    /// - Returns: whether it may go on; if not, it was ended.
    func admitToService(_ connection: Connection) -> Bool {
        guard let endpoint = connection.traffic.endpoint, let setup = connection.setup else { return true }
        let counters = self.settings.traffic
        if !setup.tried.isEmpty {
            guard self.retries.withdraw(now: self.now) else {
                counters.retriesDenied.wrappingAdd(1, ordering: .relaxed)
                let detail = setup.lastFailure?.detail.map { "\($0); " } ?? ""
                self.fail(
                    connection, setup.lastFailure?.reason ?? .connectFailed,
                    detail + "no other endpoint was tried, since too many connections of this node needed that lately")
                return false
            }
            counters.retries.wrappingAdd(1, ordering: .relaxed)
        }
        if connection.traffic.service != nil { return true }
        self.retries.deposit()
        do throws(CircuitBreaker.Refusal) {
            try endpoint.service.breaker.admit(setup.policy, now: self.now)
        } catch {
            switch error {
            case .maxConnections: counters.refusedConnections.wrappingAdd(1, ordering: .relaxed)
            case .maxPending: counters.refusedPending.wrappingAdd(1, ordering: .relaxed)
            case .connectsPerSecond: counters.refusedRate.wrappingAdd(1, ordering: .relaxed)
            }
            self.fail(connection, .limitExceeded, "service \(endpoint.key.service): \(error.text)")
            return false
        }
        connection.traffic.service = endpoint.service
        connection.traffic.isPending = true
        return true
    }

    /// Whether a connection whose tunnel broke off tries the same way again, there being no other: one more attempt, as
    /// far as the budget goes.
    func triesSameAgain(_ connection: Connection) -> Bool {
        guard connection.setup?.isCut == true else { return false }
        let counters = self.settings.traffic
        guard self.retries.withdraw(now: self.now) else {
            counters.retriesDenied.wrappingAdd(1, ordering: .relaxed)
            return false
        }
        counters.retries.wrappingAdd(1, ordering: .relaxed)
        return true
    }

    // MARK: - Learning

    /// connect(2) begins.
    func noteConnecting(_ connection: Connection) { connection.setup?.attemptBegan = Clock.monotonic }

    /// connect(2) succeeded. The kernel has measured the path by then.
    func noteConnected(_ connection: Connection) {
        guard let setup = connection.setup else { return }
        let now = Clock.monotonic
        let elapsed = now &- setup.attemptBegan
        connection.record.phases.set(.dial, nanoseconds: elapsed)
        guard connection.traffic.isObserved, let endpoint = connection.traffic.endpoint else { return }
        let info = Linux.pathInfo(self.sides[connection.server].pointee.fd)
        // A repeated SYN is what a lossy path or a full queue of the listener looks like.
        if let info, info.retransmitted == 0, info.smoothedRTT > 0 {
            endpoint.path.observe(info.cost, now: now)
        } else {
            endpoint.path.observe(elapsed, now: now)
        }
    }

    /// The CONNECT goes out.
    func noteAsking(_ connection: Connection) { connection.setup?.attemptBegan = Clock.monotonic }

    /// The peer node accepted or refused a CONNECT.
    func noteAnswer(_ connection: Connection) {
        guard let setup = connection.setup else { return }
        let now = Clock.monotonic
        connection.record.phases.set(.connect, nanoseconds: now &- setup.attemptBegan)
        guard connection.traffic.isObserved else { return }
        connection.traffic.endpoint?.answered(after: now &- setup.attemptBegan, now: now)
    }

    /// The connection reached its server and begins to relay.
    func noteEstablished(_ connection: Connection) {
        connection.traffic.endpoint?.succeeded(.connecting)
        if connection.traffic.isPending {
            connection.traffic.isPending = false
            connection.traffic.service?.breaker.established()
        }
        self.updateMetering(connection)
    }

    /// An attempt failed; called in the state in which it did.
    func noteAttemptFailed(_ connection: Connection, _ reason: CloseReason) {
        guard let endpoint = connection.traffic.endpoint, let setup = connection.setup else { return }
        if connection.traffic.isObserved, reason == .connectTimeout {
            // Whoever is silent is as slow as we were patient, and its node's other endpoints are so too.
            let now = Clock.monotonic
            endpoint.path.observe(min(now &- setup.attemptBegan, 1_000_000_000), now: now)
        }
        if Self.isFault(reason) { self.noteFailure(of: endpoint, .connecting) }
    }

    /// Whether a reason is about the endpoint or its node, not about the client, a policy or this node.
    private static func isFault(_ reason: CloseReason) -> Bool {
        switch reason {
        case .connectRefused, .connectTimeout, .connectFailed, .tlsFailed, .tunnelReset, .protocolError, .workloadGone,
            .unknownDestination, .serverReset, .shutdown:
            true
        case .completed, .clientReset, .policyDenied, .noHealthyEndpoint, .identityMismatch, .identityUnavailable,
            .selfCall, .originalDestinationMissing, .resourceExhausted, .limitExceeded,
            .sockmapStalled, .idleTimeout, .staleView, .endUnseen:
            false
        }
    }

    private func noteFailure(of endpoint: EndpointState, _ stage: EndpointHealth.Stage) {
        guard endpoint.failed(stage, now: self.now), let ejection = endpoint.ejection(now: self.now) else { return }
        self.settings.logger.notice(
            "endpoint set aside",
            metadata: [
                "service": "\(endpoint.key.service)", "workload": "\(endpoint.key.workload)",
                "address": "\(endpoint.key.address)", "seconds": "\((ejection.until - self.now) / 1_000_000_000)",
                "times": "\(ejection.times)",
            ])
    }

    // MARK: - Ending

    /// Gives back what a connection held, and learns from how it ended.
    ///
    /// - Parameter path: how its way to the server was at the end.
    func releaseTraffic(_ connection: Connection, _ reason: CloseReason, _ path: Linux.PathInfo?) {
        let traffic = connection.traffic
        connection.traffic = ConnectionTraffic()
        traffic.usage?.ended()
        traffic.destinationUsage?.ended()
        traffic.service?.breaker.ended(wasPending: traffic.isPending)
        guard let endpoint = traffic.endpoint else { return }
        endpoint.ended()
        // Set-up failures were noted when they happened.
        if connection.setup != nil { return }
        let server = self.sides[connection.server]
        if traffic.isObserved, let path, path.smoothedRTT > 0 { endpoint.path.observe(path.cost, now: self.now) }
        switch reason {
        case .serverReset, .tunnelReset:
            if server.pointee.bytes == 0 {
                self.noteFailure(of: endpoint, .answering)
            } else {
                endpoint.succeeded(.answering)
            }
        default:
            if server.pointee.bytes > 0 { endpoint.succeeded(.answering) }
        }
    }
}

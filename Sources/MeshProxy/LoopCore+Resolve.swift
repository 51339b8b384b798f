// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshTunnel

/// Deciding where a connection goes, and whether it may.
extension LoopCore {
    func resolve(_ connection: Connection) {
        guard self.identify(connection) else { return }
        self.noteResolving(connection)
        guard let view = self.view else {
            self.park(connection)
            return
        }
        if let staleness = self.staleness {
            self.fail(connection, .staleView, staleness)
            return
        }
        guard self.admitToWorkload(connection) else { return }
        switch connection.machine.origin {
        case .capturedOutbound: self.resolveOutbound(connection, view)
        case .capturedInbound: self.resolveInbound(connection, view)
        case .tunnel: self.resolveTunnel(connection, view)
        // Its way was known before it began.
        case .pool: return
        }
    }

    /// Waits for a certificate, or for the first view.
    func park(_ connection: Connection) {
        _ = connection.machine.identityMissing()
        self.noteParked(connection)
        if !connection.isParked {
            connection.isParked = true
            self.parked.append(connection)
        }
        connection.record.detail = "no certificate for the local workload yet; is the control plane reachable?"
        // From the first time on: a view that does not bring it must not extend the wait.
        if connection.setup?.parkedUntil == 0 {
            connection.setup?.parkedUntil = self.now + self.configuration.identityTimeout.nanoseconds
        }
        let until = connection.setup?.parkedUntil ?? self.now
        self.setDeadline(connection, after: until > self.now ? until - self.now : 0)
    }

    // MARK: - Outbound

    private func resolveOutbound(_ connection: Connection, _ view: ProxyView) {
        guard let setup = connection.setup, let source = connection.workload else { return }
        let sourceWorkload = view.snapshot.workload(source.id)
        connection.record.sourceIdentity = sourceWorkload?.identity
        // A capture through loopback hides the workload's own address.
        let client = connection.record.sourceAddress
        if client.ip.isLoopback, let addresses = sourceWorkload?.addresses,
            let address = addresses.first(where: { $0.isIPv4 == client.ip.isIPv4 }) ?? addresses.first
        {
            connection.record.sourceAddress = SocketAddress(ip: address, port: client.port)
        }

        let route: Route
        switch self.route(connection, view) {
        case .success(let resolved): route = resolved
        case .failure(let failure)
        where failure.isUnknown && self.configuration.unknownDestination == .passthrough:
            route = Route(service: nil, workload: nil, address: connection.record.destination, path: .plain)
        case .failure(let failure):
            if !setup.tried.isEmpty, self.triesSameAgain(connection) {
                setup.tried.removeAll()
                self.resolveOutbound(connection, view)
            } else if let last = setup.lastFailure {
                self.fail(connection, last.reason, last.detail)
            } else {
                self.fail(connection, failure.reason, failure.description)
            }
            return
        }
        connection.record.service = route.service
        connection.record.destinationWorkload = route.workload?.id
        connection.record.destinationIdentity = route.workload?.identity
        connection.record.upstream = route.address
        guard self.admitToService(connection) else { return }

        switch route.path {
        case .plain:
            connection.record.wire = .plaintext
            setup.target = Connection.Target(address: route.address, from: source, markedClient: nil, tunnel: nil)
        case .local:
            connection.record.wire = .local
            guard let workload = route.workload, let destination = self.workloads[workload.id] else {
                self.fail(connection, .workloadGone, "the destination workload is not enrolled on this node any more")
                return
            }
            guard self.ownsPort(destination, route.address.port, connection, view),
                self.isAllowed(connection, to: workload, at: route.address, view),
                self.admitToDestination(destination, connection)
            else { return }
            let client = connection.record.sourceAddress.shown(to: route.address.ip, of: sourceWorkload)
            setup.target = Connection.Target(
                address: route.address, from: destination, markedClient: client, tunnel: nil)
        case .tunnel(let node):
            connection.record.wire = .splice
            guard let identity = view.identities[source.id] else {
                self.park(connection)
                return
            }
            guard let workload = route.workload, let expected = workload.identity,
                let address = view.snapshot.tunnelAddress(of: node)
            else {
                self.fail(connection, .noHealthyEndpoint, "the endpoint's node has no address or no valid identity")
                return
            }
            let trace = TraceContext.random(isSampled: self.isSampled())
            connection.record.trace = trace
            connection.record.sourceIdentity = identity.id
            connection.record.upstream = SocketAddress(ip: address, port: node.tunnelPort)
            setup.target = Connection.Target(
                address: SocketAddress(ip: address, port: node.tunnelPort), from: nil, markedClient: nil,
                tunnel: Connection.Target.Tunnel(
                    identity: identity, serverName: workload.serverName, expected: expected,
                    destination: self.tunnelDestination(
                        from: source.id, as: identity, to: workload.id,
                        at: SocketAddress(ip: address, port: node.tunnelPort), expecting: expected),
                    request: ConnectRequest(
                        authority: route.address,
                        client: connection.record.sourceAddress.inFamily(of: route.address.ip, of: sourceWorkload),
                        source: source.id, sourceService: sourceWorkload?.canonicalName, trace: trace)))
        }
        self.noteResolved(connection)
        self.perform(connection.machine.resolved(), connection)
    }

    // MARK: - Inbound

    private func resolveInbound(_ connection: Connection, _ view: ProxyView) {
        guard let setup = connection.setup, let workload = connection.workload else { return }
        guard let known = view.snapshot.workload(workload.id) else {
            self.park(connection)
            return
        }
        let destination = connection.record.destination
        connection.record.destinationIdentity = known.identity
        connection.record.upstream = destination
        if let source = setup.source {
            guard let identity = view.snapshot.workload(source.id)?.identity else {
                self.park(connection)
                return
            }
            connection.record.sourceIdentity = identity
            // Counts for the client as well: it has no other connection that could.
            guard self.admitToDestination(source, connection) else { return }
        }
        guard self.isAllowed(connection, to: known, at: destination, view) else { return }
        setup.target = Connection.Target(
            address: destination, scope: setup.scope, from: workload, markedClient: connection.record.sourceAddress,
            tunnel: nil)
        self.noteResolved(connection)
        self.perform(connection.machine.resolved(), connection)
    }

    private func resolveTunnel(_ connection: Connection, _ view: ProxyView) {
        guard let setup = connection.setup, let workload = connection.workload, let request = setup.requested,
            let session = connection.session
        else { return }
        // Not only at the handshake: a tunnel carries one connection after the other.
        connection.record.destinationWorkload = workload.id
        connection.record.destination = request.authority
        connection.record.upstream = request.authority
        connection.record.sourceIdentity = session.peer
        connection.record.destinationIdentity = session.local
        connection.record.trace = request.trace
        if let client = request.client { connection.record.sourceAddress = client }
        // The peer proved the namespace and the account only; the name inside them is its word.
        if let source = request.source, source.namespace == session.peer.namespace {
            connection.record.source = source
        }
        guard case .workload = session.peer.subject else {
            self.fail(connection, .policyDenied, "\(session.peer) is no workload")
            return
        }
        guard let known = view.snapshot.workload(workload.id), known.addresses.contains(request.authority.ip) else {
            self.fail(
                connection, .unknownDestination, "\(request.authority.ip) is no address of workload \(workload.id)")
            return
        }
        if MeshPorts.isReserved(request.authority.port) {
            self.fail(connection, .selfCall, "the port belongs to the mesh itself; dial the application's port")
            return
        }
        guard self.ownsPort(workload, request.authority.port, connection, view),
            self.isAllowed(connection, to: known, at: request.authority, view)
        else { return }
        let client = connection.record.sourceAddress.shown(
            to: request.authority.ip, of: connection.record.source.flatMap { view.snapshot.workload($0) })
        setup.target = Connection.Target(address: request.authority, from: workload, markedClient: client, tunnel: nil)
        self.noteResolved(connection)
        self.perform(connection.machine.resolved(), connection)
    }

    // MARK: - Policy

    /// Asks the policies and remembers the question; a denial ends the connection.
    private func isAllowed(
        _ connection: Connection, to workload: Workload, at address: SocketAddress, _ view: ProxyView
    ) -> Bool {
        let input = PolicyInput(
            sourceIdentity: connection.record.sourceIdentity, sourceIP: connection.record.sourceAddress.ip,
            destination: address)
        let decision = view.snapshot.decide(input, for: workload)
        connection.record.note(decision)
        connection.policyInput = input
        connection.policyWorkload = workload.id
        if decision.isAllowed { return true }
        self.fail(connection, .policyDenied, Self.text(decision))
        return false
    }

    private static func text(_ decision: PolicyDecision) -> String {
        let policy = decision.policy.map { " \($0)" } ?? ""
        return switch decision.reason {
        case .matchedDeny: "policy\(policy) denies it"
        case .noAllowMatched: "ALLOW policies apply and none of them matches"
        case .unknownPolicy: "the workload names policy\(policy), which this node does not know"
        case .noPolicies, .matchedAllow: "allowed"
        }
    }

    /// A failure that no other endpoint can mend.
    func fail(_ connection: Connection, _ reason: CloseReason, _ detail: String?) {
        connection.record.detail = detail
        self.perform(connection.machine.failed(reason, isRetryable: false), connection)
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshAPI
import MeshAdminAPI
import MeshDiscovery
import MeshIdentity
import MeshModel
import ServiceLifecycle
import Synchronization

/// The node's side of its control plane: keeps a session open under the node's certificate, registers the node's
/// workloads, follows discovery and renews the certificate. When the control plane is away, what it said last stays.
package final class ControlPlaneClient: ServiceLifecycle.Service, CertificateSigner {
    /// What the client tells the rest of the daemon. Each is called one at a time and must return soon.
    package struct Handlers: Sendable {
        /// A consistent view of the mesh that differs from the last one.
        package var state: @Sendable (MeshState) -> Void
        /// The workloads are registered, but for these.
        package var registered: @Sendable ([WorkloadID: String]) -> Void

        package init(
            state: @escaping @Sendable (MeshState) -> Void,
            registered: @escaping @Sendable ([WorkloadID: String]) -> Void
        ) {
            self.state = state
            self.registered = registered
        }
    }

    private struct State {
        /// What the control plane is told of trust.
        var fullReport: TrustReport {
            var report = self.report
            report.revision = self.discovery.revision
            // What either of the two does not trust yet is not trusted.
            report.trusted.formIntersection(self.credentials.bundle.fingerprints)
            report.issuing.insert(self.credentials.svid.issuer)
            return report
        }

        /// Whether the node's certificate leads to a root that signs no more.
        var isSuperseded: Bool {
            self.issuingRoot.map { $0 != self.credentials.svid.issuer.description } ?? false
        }

        var credentials: NodeCredentials
        var session: (any ControlPlaneSession)?
        var registration: NodeRegistration?
        var generation: UInt64
        var discovery: DeltaClient
        var status = ControlPlaneStatus()
        /// This session said something, so the next failure is a new one.
        var isProven = false
        /// This session answered any call.
        var isHeard = false
        var refusedBundle: [String]?
        var report = TrustReport()
        /// The root that signs now, once it is told and trusted.
        var issuingRoot: String?
        /// A token that was answered is not tried again in the life of the daemon.
        var hasRejoined = false
    }

    /// Between a change and its publication, so that what belongs together is published together.
    private static let debounce: Duration = .milliseconds(50)
    private static let defaultHeartbeat: Duration = .seconds(10)
    /// A control plane that takes the connection and says nothing for so long counts as unreachable.
    private static let silence: Duration = .seconds(20)
    /// Until a control plane whose store is older than what this node has seen is asked again.
    private static let rollbackPause: Duration = .seconds(10)

    private let state: Mutex<State>
    private let store: NodeCredentialStore
    private let dialler: any ControlPlaneDialler
    private let clock: any AgentClock
    private let logger: Logger
    private let handlers: Handlers
    private let decisions: DecisionLog?
    private let changed: Alarm
    private let freshness: ViewFreshness
    private let faults: StateFaults
    private let rejoin: (@Sendable () async throws -> NodeCredentials)?
    private let registrar: Mutex<Alarm?> = Mutex(nil)
    /// Held from reading the credentials to having written their successor.
    private let saving = Mutex(())

    /// - Parameters:
    ///   - discovery: what the last run held; nil: nothing. It counts as a view before the control plane is reached.
    ///   - freshness: is told whenever the control plane speaks.
    ///   - rejoin: joins anew with a token, when the credentials are of no use any more; nil: there is no token.
    package init(
        credentials: NodeCredentials, store: NodeCredentialStore, dialler: any ControlPlaneDialler,
        clock: any AgentClock = SystemClock(), decisions: DecisionLog? = nil, logger: Logger,
        discovery: DeltaClient? = nil,
        freshness: ViewFreshness? = nil, faults: StateFaults? = nil,
        rejoin: (@Sendable () async throws -> NodeCredentials)? = nil, handlers: Handlers
    ) {
        self.state = Mutex(
            State(
                credentials: credentials,
                // Larger than any of an earlier run of this node.
                generation: UInt64(max(0, clock.now.timeIntervalSince1970 * 1000)),
                discovery: discovery
                    ?? DeltaClient(node: credentials.node, trustDomain: credentials.trustDomain)))
        self.freshness = freshness ?? ViewFreshness(clock: clock)
        self.faults = faults ?? StateFaults(logger: logger)
        self.rejoin = rejoin
        self.store = store
        self.dialler = dialler
        self.clock = clock
        self.logger = logger
        self.handlers = handlers
        self.decisions = decisions
        self.changed = Alarm(clock: clock)
    }

    package var status: ControlPlaneStatus { self.state.withLock { $0.status } }

    /// The node's identity and the roots it trusts, as of now.
    package var credentials: NodeCredentials { self.state.withLock { $0.credentials } }

    /// The node's own certificate, for lists.
    package var certificateSummary: CertificateSummary {
        let (credentials, status) = self.state.withLock { ($0.credentials, $0.status) }
        let svid = credentials.svid
        return CertificateSummary(
            identity: svid.identity.description, serial: svid.serial, node: credentials.node,
            notBefore: svid.notBefore, notAfter: svid.notAfter,
            state: svid.isValid(at: self.clock.now) ? "valid" : "expired", lastError: status.lastError)
    }

    /// What discovery holds, to be kept; nil: it is not a whole.
    package var held: DeltaClient? { self.state.withLock { $0.discovery.isConsistent ? $0.discovery : nil } }

    /// Which roots the data plane trusts and which its certificates lead to: the control plane is told at once.
    package func setTrustReport(_ report: TrustReport) {
        let isNew = self.state.withLock { state in
            defer { state.report = report }
            return state.report != report
        }
        if isNew { self.registrar.withLock { $0 }?.ring() }
    }

    /// Makes this what the control plane knows of the node, now and after every reconnection.
    package func setRegistration(_ registration: NodeRegistration) {
        let isNew = self.state.withLock { state in
            guard state.registration != registration else { return false }
            state.registration = registration
            state.generation += 1
            return true
        }
        if isNew { self.registrar.withLock { $0 }?.ring() }
    }

    package func sign(
        csrPEM: String, for identity: SPIFFEID, validity: Duration?
    ) async throws(ControlPlaneError) -> [String] {
        let (session, status) = self.state.withLock { ($0.session, $0.status) }
        guard let session else {
            let reason = status.lastError.map { ": \($0)" } ?? ""
            throw ControlPlaneError(.unreachable, "there is no connection to the control plane\(reason)")
        }
        return try await session.sign(csrPEM: csrPEM, for: identity, validity: validity)
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.publish() }
                await self.keepConnected()
                group.cancelAll()
            }
        }
    }

    // MARK: - The session

    private func keepConnected() async {
        var backoff = Backoff(initial: .milliseconds(100), maximum: .seconds(15))
        while !Task.isCancelled {
            let credentials = self.credentials
            do {
                if credentials.svid.notAfter <= self.clock.now { throw self.expired(credentials) }
                try await self.dialler.withSession(credentials) { session in try await self.serve(session) }
                // The certificate was renewed: go on under the new one.
                backoff.reset()
            } catch {
                if Task.isCancelled { return }
                if self.lost(error) { backoff.reset() }
                if await self.joinedAnew(after: error) {
                    backoff.reset()
                    continue
                }
                do { try await self.clock.sleep(for: backoff.next(jitter: self.clock.jitter())) } catch { return }
            }
        }
    }

    private func expired(_ credentials: NodeCredentials) -> ControlPlaneError {
        ControlPlaneError(
            .expired,
            "this node's certificate expired at \(credentials.svid.notAfter); if the clock is right, make a token with"
                + " 'nodemeshctl join-token create --node \(credentials.node)' and restart nodemeshd with it and with"
                + " the caFingerprint that it prints")
    }

    /// Credentials that the control plane does not accept, or that do not lead to it, are replaced if there is a token.
    private func joinedAnew(after error: any Error) async -> Bool {
        guard let rejoin = self.rejoin, let error = error as? ControlPlaneError,
            [.expired, .untrustedServer, .refused].contains(error.code),
            self.state.withLock({ state in
                defer { state.hasRejoined = true }
                return !state.hasRejoined
            })
        else { return false }
        do {
            let credentials = try await rejoin()
            self.state.withLock { state in
                state.credentials = credentials
                state.refusedBundle = nil
                // Its registration and its view are another node's to this control plane.
                state.generation += 1
                state.discovery = DeltaClient(node: credentials.node, trustDomain: credentials.trustDomain)
            }
            self.logger.notice("this node joined anew", metadata: ["serial": "\(credentials.svid.serial)"])
            return true
        } catch {
            // The token may still be good.
            if (error as? ControlPlaneError)?.isTransient == true { self.state.withLock { $0.hasRejoined = false } }
            self.logger.error("this node could not join anew with its token", metadata: ["error": "\(error)"])
            return false
        }
    }

    private func serve(_ session: any ControlPlaneSession) async throws {
        self.state.withLock { state in
            state.session = session
            state.isProven = false
            state.isHeard = false
        }
        defer {
            self.state.withLock { state in
                state.session = nil
                state.status.isConnected = false
                state.discovery.disconnected()
            }
        }
        // The first to end ends the session.
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.discover(session) }
            group.addTask { try await self.keepRegistered(session) }
            group.addTask { try await self.renew(session) }
            group.addTask { try await self.expectAnswer() }
            if let decisions = self.decisions {
                let reporter = DecisionReporter(log: decisions, clock: self.clock, logger: self.logger)
                group.addTask { await reporter.run(session) }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// - Returns: whether the session had worked before.
    private func lost(_ error: any Error) -> Bool {
        let text = (error as? ControlPlaneError)?.message ?? "\(error)"
        let (wasProven, isNew) = self.state.withLock { state in
            let result = (state.isProven, state.isProven || state.status.lastError != text)
            state.isProven = false
            state.status.lastError = text
            return result
        }
        // The same failure over and over is said once.
        self.logger.log(
            level: isNew ? .warning : .debug, "the connection to the control plane is down",
            metadata: ["error": "\(text)"])
        return wasProven
    }

    /// A call was answered. Whether that confirms the view depends on the discovery stream.
    private func heard() {
        let now = self.clock.now
        let isCurrent = self.state.withLock { state in
            state.isHeard = true
            if state.status.isConnected { state.status.lastConfirmed = now }
            return state.status.isConnected
        }
        if isCurrent { self.freshness.confirm() } else { self.freshness.contact() }
    }

    /// Throws when nothing at all came for too long; otherwise it only returns when the session ends.
    private func expectAnswer() async throws {
        try await self.clock.sleep(for: Self.silence)
        guard self.state.withLock({ $0.isHeard }) else {
            throw ControlPlaneError(
                .unreachable,
                "the control plane does not answer: something takes the connection and says nothing for"
                    + " \(Self.silence.components.seconds) s")
        }
        while true { try await self.clock.sleep(for: .seconds(3600)) }
    }

    // MARK: - Discovery

    private func discover(_ session: any ControlPlaneSession) async throws {
        while true {
            let first = self.state.withLock { $0.discovery.connected() }
            do {
                try await session.discover(first: first) { response in try self.take(response) }
                throw ControlPlaneError(.unreachable, "the control plane ended the discovery stream")
            } catch let error as ControlPlaneError where error.code == .rolledBack {
                // The session goes on: its certificates and registrations are needed, only its view is not believed.
                try await self.clock.sleep(for: Self.rollbackPause * (1 + 0.2 * self.clock.jitter()))
                self.state.withLock { $0.discovery.disconnected() }
            }
        }
    }

    private func take(
        _ response: Envoy_Service_Discovery_V3_DeltaDiscoveryResponse
    ) throws -> Envoy_Service_Discovery_V3_DeltaDiscoveryRequest {
        let now = self.clock.now
        let (received, isFirst) = try self.state.withLock { state throws(DiscoveryError) in
            state.isHeard = true
            let received: DeltaClient.Received
            do throws(DiscoveryError) {
                received = try state.discovery.received(response)
            } catch {
                if error.code == .rolledBack { self.rolledBack(error, &state) }
                throw error
            }
            let isFirst = !state.isProven
            state.isProven = true
            state.status = ControlPlaneStatus(isConnected: true, lastConfirmed: now, lastError: nil)
            return (received, isFirst)
        }
        self.freshness.confirm()
        if isFirst { self.logger.info("connected to the control plane") }
        for refusal in received.refused.prefix(10) {
            self.logger.error(
                "a resource of the control plane was refused",
                metadata: [
                    "discovery.type": "\(received.type)", "resource": "\(refusal.name)",
                    "error": "\(refusal.reason)",
                ])
        }
        if received.isChanged { self.changed.ring() }
        return received.reply
    }

    private func rolledBack(_ error: DiscoveryError, _ state: inout State) {
        let isNew = !state.status.isRolledBack
        state.status.isRolledBack = true
        state.status.isConnected = false
        state.status.lastError = error.message
        if isNew {
            self.logger.error("the control plane's view of the mesh is refused", metadata: ["reason": "\(error)"])
        }
    }

    private func publish() async {
        // What the last run held counts before anything is heard.
        await self.tell()
        for await _ in self.changed.rings {
            do { try await self.clock.sleep(for: Self.debounce) } catch { return }
            await self.tell()
        }
    }

    private func tell() async {
        let state = self.state.withLock { $0.discovery.isConsistent ? $0.discovery.state : nil }
        guard let state else { return }
        if let bundle = state.settings?.trustBundle { await self.adopt(bundle) }
        let issuing = state.settings?.issuingRoot
        self.state.withLock { client in
            let isTrusted = client.credentials.bundle.fingerprints.contains { $0.description == issuing }
            client.issuingRoot = isTrusted ? issuing : nil
        }
        self.freshness.setMeshLimit(state.settings?.maxStaleness.map { .seconds($0) })
        self.handlers.state(state)
    }

    /// Takes over another trust bundle, unless it would cut this node off.
    private func adopt(_ pem: [String]) async {
        let (credentials, refused) = self.state.withLock { ($0.credentials, $0.refusedBundle) }
        guard pem != credentials.bundle.pem, pem != refused else { return }
        do {
            var new = credentials
            new.bundle = try TrustBundle(pem: pem)
            guard new.bundle != credentials.bundle else { return }
            new.svid = try await SVID(
                identity: credentials.svid.identity, chainPEM: credentials.svid.chainPEM, key: credentials.svid.key,
                bundle: new.bundle, now: self.clock.now)
            let bundle = new.bundle
            self.keep { $0.bundle = bundle }
            self.logger.notice("the trust bundle changed", metadata: ["roots": "\(new.bundle.roots.count)"])
        } catch {
            self.state.withLock { $0.refusedBundle = pem }
            self.logger.error(
                "the control plane's new trust bundle was refused; the old one stays",
                metadata: ["error": "\(error)"])
        }
    }

    // MARK: - Registration

    private func keepRegistered(_ session: any ControlPlaneSession) async throws {
        let alarm = Alarm(clock: self.clock)
        self.registrar.withLock { $0 = alarm }
        defer { self.registrar.withLock { if $0 === alarm { $0 = nil } } }
        var registered: UInt64?
        var told = TrustReport()
        var interval = Self.defaultHeartbeat
        var nextHeartbeat = self.clock.now
        alarm.ring()
        for await _ in alarm.rings {
            let (registration, generation, report) = self.state.withLock {
                ($0.registration, $0.generation, $0.fullReport)
            }
            if let registration, registered != generation {
                let result = try await session.register(registration, generation: generation)
                registered = generation
                interval = result.heartbeatInterval ?? interval
                self.report(result, of: registration)
            } else if registered != nil, nextHeartbeat <= self.clock.now || told != report {
                let result = try await session.heartbeat(generation: generation, report: report)
                told = report
                interval = result.heartbeatInterval ?? interval
                if result.needsRegistration {
                    registered = nil
                    alarm.ring()
                }
            } else if registration == nil {
                // It rings when there is one.
                continue
            } else {
                alarm.ring(after: .seconds(max(0.01, nextHeartbeat.timeIntervalSince(self.clock.now))))
                continue
            }
            self.heard()
            nextHeartbeat = self.clock.now.addingTimeInterval(interval.interval)
            alarm.ring(after: interval)
        }
        try Task.checkCancellation()
    }

    private func report(_ result: RegistrationResult, of registration: NodeRegistration) {
        for (workload, reason) in result.refusals {
            self.logger.warning(
                "the control plane refused a workload",
                metadata: ["workload.id": "\(workload)", "error": "\(reason)"])
        }
        self.logger.debug("registered", metadata: ["workloads": "\(registration.workloads.count)"])
        self.handlers.registered(result.refusals)
    }

    // MARK: - The node's certificate

    /// Returns when the certificate was renewed.
    private func renew(_ session: any ControlPlaneSession) async throws {
        var backoff = Backoff(initial: .seconds(1), maximum: .seconds(150))
        let credentials = self.credentials
        // Not at once, however short the certificate's life is: each renewal costs a new session.
        let due = max(
            credentials.svid.renewalTime(jitter: self.clock.jitter()), self.clock.now.addingTimeInterval(5))
        while true {
            let now = self.clock.now
            if now < due, !self.state.withLock({ $0.isSuperseded }) {
                // In steps: a timer stands still while the machine sleeps, the wall clock does not.
                try await self.clock.sleep(for: .seconds(min(5, max(0.01, due.timeIntervalSince(now)))))
                continue
            }
            do {
                let svid = try await session.obtain(
                    credentials.svid.identity, key: IdentityKey(), validity: nil, bundle: self.credentials.bundle,
                    now: { self.clock.now })
                self.keep { $0.svid = svid }
                self.logger.info(
                    "the node's certificate was renewed",
                    metadata: ["serial": "\(svid.serial)", "expires": "\(svid.notAfter)"])
                return
            } catch {
                try Task.checkCancellation()
                self.state.withLock { $0.status.lastError = "\(error)" }
                self.logger.error(
                    "the node's certificate could not be renewed",
                    metadata: ["expires": "\(credentials.svid.notAfter)", "error": "\(error)"])
                try await self.clock.sleep(for: backoff.next(jitter: self.clock.jitter()))
            }
        }
    }

    /// Changes the credentials in use, and on disk. What cannot be written is used all the same, and written with the
    /// next change.
    private func keep(_ change: (inout NodeCredentials) -> Void) {
        self.saving.withLock { _ in
            var new = self.credentials
            change(&new)
            self.state.withLock { $0.credentials = new }
            do throws(ControlPlaneError) {
                try self.store.save(new)
                self.faults.clear("node")
            } catch {
                self.faults.report("node", error.message)
            }
        }
    }
}

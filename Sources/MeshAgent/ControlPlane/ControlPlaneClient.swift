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

    struct State {
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

    /// A control plane that takes the connection and says nothing for so long counts as unreachable.
    private static let silence: Duration = .seconds(20)

    let state: Mutex<State>
    let store: NodeCredentialStore
    private let dialler: any ControlPlaneDialler
    let clock: any AgentClock
    let logger: Logger
    let handlers: Handlers
    private let decisions: DecisionLog?
    let changed: Alarm
    let freshness: ViewFreshness
    let faults: StateFaults
    private let rejoin: (@Sendable () async throws -> NodeCredentials)?
    let registrar: Mutex<Alarm?> = Mutex(nil)
    /// Held from reading the credentials to having written their successor.
    let saving = Mutex(())

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
    func heard() {
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
}

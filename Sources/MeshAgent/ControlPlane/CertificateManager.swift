// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshAdminAPI
import MeshIdentity
import MeshModel
import ServiceLifecycle
import Synchronization

/// Gets and renews a certificate for each identity that has a workload on this node. Keys are made here and stay here.
package final class CertificateManager: ServiceLifecycle.Service {
    private let signer: any CertificateSigner
    private let bundle: @Sendable () -> TrustBundle
    private let validity: Duration?
    private let clock: any AgentClock
    private let logger: Logger
    private let onChange: @Sendable ([SPIFFEID: SVID]) -> Void
    private let kept: SVIDStore?
    private let alarms: CertificateAlarms?
    /// The root that signs now; nil: not told.
    private let issuingRoot = Mutex<String?>(nil)
    private let schedule = Mutex(CertificateSchedule())
    private let alarm: Alarm

    /// - Parameters:
    ///   - bundle: what certificates must lead to.
    ///   - validity: asked for; nil: the authority's choice.
    ///   - kept: where certificates and keys outlive the daemon; nil: nowhere.
    ///   - alarms: is told of the state of all certificates now and then.
    ///   - onChange: given all valid certificates after each change, one call at a time. It must return soon.
    package init(
        signer: any CertificateSigner, bundle: @escaping @Sendable () -> TrustBundle, validity: Duration? = nil,
        kept: SVIDStore? = nil, alarms: CertificateAlarms? = nil, clock: any AgentClock = SystemClock(),
        logger: Logger, onChange: @escaping @Sendable ([SPIFFEID: SVID]) -> Void
    ) {
        self.signer = signer
        self.bundle = bundle
        self.validity = validity
        self.kept = kept
        self.alarms = alarms
        self.clock = clock
        self.logger = logger
        self.onChange = onChange
        self.alarm = Alarm(clock: clock)
    }

    /// The identities of the workloads on this node, all of them.
    package func setIdentities(_ identities: Set<SPIFFEID>) {
        self.schedule.withLock { $0.want(identities, now: self.clock.now) }
        self.alarm.ring()
    }

    /// Takes up what the last run kept for workloads of this node. What is not there is not asked for: the control plane
    /// does not know the workload yet.
    package func adopt(_ identities: Set<SPIFFEID>) async {
        guard let kept = self.kept else { return }
        var isChanged = false
        for identity in identities where self.schedule.withLock({ $0.isMissing(identity) }) {
            guard let svid = await kept.load(identity, bundle: self.bundle(), now: self.clock.now),
                svid.isUsable(at: self.clock.now)
            else { continue }
            self.logger.debug(
                "a certificate of the last run is used",
                metadata: ["workload.spiffe_id": "\(identity)", "expires": "\(svid.notAfter)"])
            self.schedule.withLock { $0.adopt(svid, now: self.clock.now, jitter: self.clock.jitter()) }
            isChanged = true
        }
        if isChanged { self.alarm.ring() }
    }

    /// Identities that have no workload here any more lose their files.
    package func prune(keeping identities: Set<SPIFFEID>) { self.kept?.prune(keeping: identities) }

    /// Looks at all certificates again: the clock jumped.
    package func wake() { self.alarm.ring() }

    /// Another root signs from now on.
    package func setIssuingRoot(_ root: String?) {
        let isNew = self.issuingRoot.withLock { stored in
            defer { stored = root }
            return stored != root
        }
        if isNew { self.alarm.ring() }
    }

    /// The control plane has just accepted workloads, for the first time or back from a pause: what it did not sign before
    /// may work now.
    package func retryFailed() {
        self.schedule.withLock { $0.retryFailed(now: self.clock.now) { _ in self.spread() } }
        self.alarm.ring()
    }

    /// The valid certificates.
    package var certificates: [SPIFFEID: SVID] { self.schedule.withLock { $0.valid(at: self.clock.now) } }

    package func summaries(node: String) -> [CertificateSummary] {
        let now = self.clock.now
        return self.schedule.withLock { $0.statuses }.map { status in
            let state =
                switch status.svid {
                case nil: "pending"
                case .some(let svid) where !svid.isUsable(at: now): "expired"
                case .some(let svid) where !svid.isValid(at: now): "not yet valid"
                case .some: status.isRequesting ? "renewing" : "valid"
                }
            return CertificateSummary(
                identity: status.identity.description, serial: status.svid?.serial ?? "", node: node,
                notBefore: status.svid?.notBefore ?? .distantPast, notAfter: status.svid?.notAfter ?? .distantPast,
                state: state, lastError: status.lastError)
        }
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown { await self.work() }
    }

    private func work() async {
        await withDiscardingTaskGroup { group in
            var published: [SPIFFEID: String] = [:]
            self.alarm.ring()
            for await _ in self.alarm.rings {
                let now = self.clock.now
                let root = self.issuingRoot.withLock { $0 }
                let (plan, valid, statuses) = self.schedule.withLock { schedule in
                    if let root { schedule.renew(exceptIssuedBy: root, now: now) { _ in self.spread() } }
                    return (schedule.plan(now: now), schedule.valid(at: now), schedule.statuses)
                }
                self.alarms?.look(at: statuses, now: now)
                for identity in plan.start {
                    group.addTask {
                        await self.request(identity)
                        self.alarm.ring()
                    }
                }
                let serials = valid.mapValues(\.serial)
                if serials != published {
                    published = serials
                    self.onChange(valid)
                }
                // A sleeping machine's timers stand still while its wall clock goes on: look now and then.
                self.alarm.ring(
                    after: plan.wake.map { .seconds(min(60, max(0.01, $0.timeIntervalSince(now)))) })
            }
            group.cancelAll()
        }
    }

    /// Seconds within which a node renews what it need not renew at once: what a rotation supersedes, or what failed while
    /// the control plane was away.
    private func spread() -> TimeInterval { 5 * (1 + self.clock.jitter()) / 2 }

    private func request(_ identity: SPIFFEID) async {
        do {
            let svid = try await self.obtain(identity)
            self.logger.info(
                "a certificate was issued",
                metadata: [
                    "workload.spiffe_id": "\(identity)", "serial": "\(svid.serial)", "expires": "\(svid.notAfter)",
                ])
            self.schedule.withLock { $0.issued(svid, now: self.clock.now, jitter: self.clock.jitter()) }
            self.kept?.save(svid)
        } catch {
            self.logger.warning(
                "a certificate could not be had",
                metadata: ["workload.spiffe_id": "\(identity)", "error": "\(error)"])
            self.schedule.withLock {
                $0.failed(identity, error.message, now: self.clock.now, jitter: self.clock.jitter())
            }
        }
    }

    private func obtain(_ identity: SPIFFEID) async throws(ControlPlaneError) -> SVID {
        let key = IdentityKey()
        return try await self.signer.obtain(
            identity, key: key, validity: self.validity, bundle: self.bundle(), now: { self.clock.now })
    }
}

extension CertificateSigner {
    /// Asks for a certificate for a key and checks what comes back.
    func obtain(
        _ identity: SPIFFEID, key: IdentityKey, validity: Duration?, bundle: TrustBundle, now: () -> Date
    ) async throws(ControlPlaneError) -> SVID {
        let request: String
        do {
            request = try SigningRequest.make(key: key, identity: identity)
        } catch {
            throw ControlPlaneError(.badAnswer, error.message)
        }
        let chain = try await self.sign(csrPEM: request, for: identity, validity: validity)
        do {
            return try await SVID(identity: identity, chainPEM: chain, key: key, bundle: bundle, now: now())
        } catch {
            throw ControlPlaneError(
                .badAnswer, "the control plane's certificate for \(identity) is unusable: \(error.message)")
        }
    }
}

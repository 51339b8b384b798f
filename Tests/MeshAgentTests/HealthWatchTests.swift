// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshAdminAPI
import MeshIdentity
import MeshModel
import Synchronization
import Testing

@testable import MeshAgent

struct ViewFreshnessTests {
    private let clock = ManualClock()

    @Test func `age counts the time that passes, not what the clock is set to`() {
        let freshness = ViewFreshness(clock: self.clock)
        #expect(freshness.age == nil && freshness.sinceContact == nil && freshness.staleness == nil)
        freshness.confirm()
        self.clock.advance(by: .seconds(40))
        self.clock.set(by: 86_400)
        #expect(freshness.age == .seconds(40))
        self.clock.set(by: -500_000)
        #expect(freshness.age == .seconds(40))
        freshness.contact()
        #expect(freshness.age == .seconds(40) && freshness.sinceContact == .zero)
    }

    @Test func `the shorter limit counts, and nothing without one`() {
        let freshness = ViewFreshness(clock: self.clock, ownLimit: .seconds(100))
        freshness.restored(confirmedAt: self.clock.now.addingTimeInterval(-90))
        #expect(freshness.age == .seconds(90) && freshness.staleness == nil)
        freshness.setMeshLimit(.seconds(50))
        #expect(freshness.staleness?.contains("90 s ago") == true)
        #expect(freshness.staleness?.contains("is 50 s") == true)
        freshness.setMeshLimit(.seconds(5000))
        #expect(freshness.staleness == nil)
        self.clock.advance(by: .seconds(11))
        #expect(freshness.staleness != nil)
        freshness.setOwnLimit(nil)
        freshness.setMeshLimit(nil)
        #expect(freshness.staleness == nil)
        freshness.setOwnLimit(.seconds(100))
        freshness.confirm()
        #expect(freshness.staleness == nil)
    }

    @Test func `a view of unknown age is too old for any limit`() {
        let freshness = ViewFreshness(clock: self.clock)
        freshness.restored(confirmedAt: self.clock.now.addingTimeInterval(3600))
        #expect(freshness.staleness == nil)
        freshness.setOwnLimit(.seconds(1_000_000))
        #expect(freshness.staleness?.contains("unknown age") == true)
        freshness.confirm()
        #expect(freshness.staleness == nil)
    }

    @Test(arguments: [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 d")])
    func `times are told in a unit that shows something`(_ seconds: Int, _ text: String) {
        #expect(ViewFreshness.text(.seconds(seconds)) == text)
    }
}

struct HealthWatchTests {
    private let clock = ManualClock()
    private let directory = TemporaryDirectory()
    private let events = EventHub()
    private let logger = Logger(label: "test")
    private let authority: TestAuthority

    init() throws { self.authority = try TestAuthority(now: self.clock.now) }

    private final class Seen: Sendable {
        let stale = Mutex<[String?]>([])
        let jumps = Mutex(0)
    }

    private func watch(
        _ freshness: ViewFreshness, _ seen: Seen, validity: TimeInterval = 86_400
    ) async throws -> HealthWatch {
        let control = ControlPlaneClient(
            credentials: try await self.authority.credentials(validity: validity, now: self.clock.now),
            store: NodeCredentialStore(directory: self.directory.path), dialler: FakeControlPlane(),
            clock: self.clock, logger: self.logger, freshness: freshness,
            handlers: .init(state: { _ in }, registered: { _ in }))
        return HealthWatch(
            freshness: freshness, control: control,
            alarms: CertificateAlarms(events: self.events, logger: self.logger),
            faults: StateFaults(logger: self.logger), events: self.events, clock: self.clock, logger: self.logger,
            onStale: { reason in seen.stale.withLock { $0.append(reason) } },
            onClockJump: { seen.jumps.withLock { $0 += 1 } })
    }

    private func reasons() -> [String] { self.events.history.map(\.reason) }

    @Test func `an aging view is told of at thresholds, and refuses connections at its limit only`() async throws {
        let freshness = ViewFreshness(clock: self.clock, ownLimit: .seconds(1000))
        freshness.confirm()
        let seen = Seen()
        let watch = try await self.watch(freshness, seen)
        for _ in 0..<130 {
            watch.look()
            self.clock.advance(by: .seconds(10))
        }
        #expect(self.reasons() == ["view_old", "view_old", "view_stale"])
        #expect(seen.stale.withLock { $0.count } == 1)
        #expect(watch.problems.contains { $0.contains("new connections are refused") })
        freshness.confirm()
        watch.look()
        #expect(seen.stale.withLock { $0.count == 2 && $0[1] == nil })
        #expect(watch.problems.isEmpty)
        #expect(seen.jumps.withLock { $0 } == 0)
    }

    @Test func `a clock that is set is told of, slow drift is not`() async throws {
        let freshness = ViewFreshness(clock: self.clock)
        let seen = Seen()
        let watch = try await self.watch(freshness, seen)
        for _ in 0..<100 {
            self.clock.advance(by: .seconds(1))
            self.clock.set(by: 0.5)
            watch.look()
        }
        #expect(self.reasons().isEmpty)
        self.clock.set(by: -7200)
        watch.look()
        watch.look()
        #expect(self.reasons() == ["clock_jumped"])
        #expect(watch.problems.contains { $0.contains("back by 2 h") })
        self.clock.set(by: 7200)
        watch.look()
        #expect(seen.jumps.withLock { $0 } == 2)
        self.clock.advance(by: .seconds(700))
        #expect(!watch.problems.contains { $0.contains("clock") })
    }

    @Test func `a certificate that is not renewed raises alarms well before its end`() async throws {
        let freshness = ViewFreshness(clock: self.clock)
        let watch = try await self.watch(freshness, Seen(), validity: 9000)
        var told: [Int: [String]] = [:]
        for step in 0..<20 {
            watch.look()
            told[step] = watch.problems
            self.clock.advance(by: .seconds(600))
        }
        #expect(told[9]?.isEmpty == true)
        #expect(told[11]?.contains { $0.contains("expires in") } == true)
        #expect(told[16]?.contains { $0.contains("has expired") } == true)
        #expect(self.reasons() == ["certificate_expiring", "certificate_expiring", "certificate_expired"])
        #expect(self.events.history.allSatisfy { $0.identity == "spiffe://mesh.internal/node/n1" })
    }

    @Test func `workloads' alarms are told once a stage and end with the renewal`() async throws {
        let alarms = CertificateAlarms(events: self.events, logger: self.logger)
        let id = try SPIFFEID.account("web")
        let old = try await self.authority.svid(id, validity: 900, now: self.clock.now)
        func look(_ svid: SVID?, after seconds: TimeInterval) {
            alarms.look(
                at: [.init(identity: id, svid: svid, isRequesting: false, lastError: "down")],
                now: self.clock.now.addingTimeInterval(seconds))
        }
        for seconds in [0, 500, 610, 620, 850, 901, 950] as [TimeInterval] { look(old, after: seconds) }
        #expect(self.reasons() == ["certificate_expiring", "certificate_expiring", "certificate_expired"])
        #expect(alarms.problems(now: self.clock.now.addingTimeInterval(950)).first?.contains("down") == true)
        self.clock.advance(by: .seconds(960))
        look(try await self.authority.svid(id, validity: 900, now: self.clock.now), after: 0)
        #expect(alarms.problems(now: self.clock.now).isEmpty)
        look(nil, after: 0)
        #expect(self.reasons().count == 3)
    }
}

/// The explanation of a connection that needs a view.
struct ExplanationStalenessTests {
    private func explanation(_ verdict: String) -> Explanation {
        Explanation(
            source: "shop/web", destination: "10.0.0.1:80",
            steps: [
                .init(stage: "capture", outcome: "captured", detail: ""),
                .init(stage: "policy", outcome: "x", detail: ""),
            ], verdict: verdict, reason: nil, policy: "shop/p", rule: 1)
    }

    @Test func `a stale view refuses what is captured, and nothing else`() {
        let refused = self.explanation("allowed").judged(staleness: "too old", age: .seconds(9))
        #expect(refused.verdict == "refused" && refused.reason == "stale_view" && refused.policy == nil)
        #expect(refused.steps.map(\.stage) == ["capture", "view"])
        let left = self.explanation("notCaptured").judged(staleness: "too old", age: nil)
        #expect(left == self.explanation("notCaptured"))
        let fresh = self.explanation("allowed").judged(staleness: nil, age: .seconds(9))
        #expect(fresh.verdict == "allowed" && fresh.steps.map(\.stage) == ["capture", "view", "policy"])
    }
}

struct SVIDStoreTests {
    private let directory = TemporaryDirectory()
    private let clock = ManualClock()
    private let queue = StateQueue()
    private let logger = Logger(label: "test")

    private func store(_ faults: StateFaults? = nil) -> SVIDStore {
        SVIDStore(
            directory: self.directory.path, queue: self.queue, faults: faults ?? StateFaults(logger: self.logger),
            logger: self.logger)
    }

    /// Until all that was submitted is done.
    private func settle() async throws { try await self.queue.run {} }

    @Test func `certificates and keys come back for the same identity and authority only`() async throws {
        let (authority, other) = (try TestAuthority(now: self.clock.now), try TestAuthority(now: self.clock.now))
        let (web, api) = (try SPIFFEID.account("web"), try SPIFFEID.account("api"))
        let svid = try await authority.svid(web, now: self.clock.now)
        self.store().save(svid)
        self.store().save(try await authority.credentials(now: self.clock.now).svid)
        try await self.settle()
        #expect(try FileManager.default.contentsOfDirectory(atPath: self.directory.path + "/svids") == ["shop+web.pem"])
        #expect(try self.directory.mode("/svids/shop+web.pem") == 0o600)
        #expect(try self.directory.mode("/svids") == 0o700)
        let loaded = await self.store().load(web, bundle: authority.bundle, now: self.clock.now)
        #expect(loaded?.serial == svid.serial && loaded?.key.pem == svid.key.pem && loaded?.issuer == svid.issuer)
        #expect(await self.store().load(api, bundle: authority.bundle, now: self.clock.now) == nil)
        #expect(await self.store().load(web, bundle: other.bundle, now: self.clock.now) == nil)
        let later = self.clock.now.addingTimeInterval(4000)
        #expect(await self.store().load(web, bundle: authority.bundle, now: later) == nil)
        // A clock that is behind does not take it away.
        let before = self.clock.now.addingTimeInterval(-90_000)
        #expect(await self.store().load(web, bundle: authority.bundle, now: before) != nil)
        // One renamed to another identity is not that identity's.
        try FileManager.default.moveItem(
            atPath: self.directory.path + "/svids/shop+web.pem", toPath: self.directory.path + "/svids/shop+api.pem")
        #expect(await self.store().load(api, bundle: authority.bundle, now: self.clock.now) == nil)
    }

    @Test func `keys of identities that are gone are removed`() async throws {
        let authority = try TestAuthority(now: self.clock.now)
        let (web, api) = (try SPIFFEID.account("web"), try SPIFFEID.account("api"))
        let store = self.store()
        for id in [web, api] { store.save(try await authority.svid(id, now: self.clock.now)) }
        try await self.settle()
        store.prune(keeping: [api])
        try await self.settle()
        #expect(try FileManager.default.contentsOfDirectory(atPath: self.directory.path + "/svids") == ["shop+api.pem"])
    }

    @Test func `a manager goes on with what was kept, without asking anybody`() async throws {
        let authority = try TestAuthority(now: self.clock.now)
        let web = try SPIFFEID.account("web")
        self.store().save(try await authority.svid(web, now: self.clock.now))
        try await self.settle()
        let plane = FakeControlPlane()
        let published = Mutex<Set<SPIFFEID>>([])
        let manager = CertificateManager(
            signer: plane, bundle: { authority.bundle }, kept: self.store(), clock: self.clock, logger: self.logger
        ) { svids in published.withLock { $0 = Set(svids.keys) } }
        let running = Task { try await manager.run() }
        await manager.adopt([web, try .account("api")])
        #expect(await self.clock.wait { published.withLock { $0 } == [web] })
        #expect(plane.state.withLock { $0.signs.isEmpty })
        // At half of its life it is renewed, and what comes is kept in its place.
        let serial = manager.certificates[web]?.serial
        let clock = self.clock
        plane.state.withLock { state in
            state.sign = { csr, identity in try authority.sign(csr, identity, now: clock.now) }
        }
        #expect(await self.clock.wait { self.clock.sleepers > 0 })
        self.clock.advance(by: .seconds(1900))
        #expect(await self.clock.advance(in: .milliseconds(100)) { manager.certificates[web]?.serial != serial })
        // Another root signs now: renewed again.
        let second = manager.certificates[web]?.serial
        manager.setIssuingRoot("sha256:" + String(repeating: "0", count: 64))
        #expect(await self.clock.advance(in: .milliseconds(500)) { manager.certificates[web]?.serial != second })
        running.cancel()
        try await running.value
        try await self.settle()
        let kept = await self.store().load(web, bundle: authority.bundle, now: self.clock.now)
        #expect(kept?.serial != serial)
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshAdminAPI
import MeshIdentity
import MeshModel
import Synchronization
import Testing

@testable import MeshAgent

struct ControlPlaneBackoffTests {
    @Test func `it doubles to its maximum, with bounded jitter, and starts over`() {
        var backoff = Backoff(initial: .milliseconds(100), maximum: .seconds(1))
        var waits: [Duration] = []
        for _ in 0..<6 { waits.append(backoff.next(jitter: 0)) }
        #expect(waits == [100, 200, 400, 800, 1000, 1000].map { .milliseconds($0) })
        for _ in 0..<100 { _ = backoff.next(jitter: 0) }
        let (high, low) = (backoff.next(jitter: 9), backoff.next(jitter: -9))
        #expect(high == .milliseconds(1200))
        #expect(low == .milliseconds(800))
        backoff.reset()
        let first = backoff.next(jitter: 0)
        #expect(first == .milliseconds(100))
    }
}

/// The testing macros cannot call mutating functions of a variable.
private final class Schedule {
    private var machine = CertificateSchedule()

    func want(_ identities: Set<SPIFFEID>, now: Date) { self.machine.want(identities, now: now) }
    func retryFailed(now: Date) { self.machine.retryFailed(now: now) { _ in 3 } }
    func plan(now: Date) -> CertificateSchedule.Plan { self.machine.plan(now: now) }
    func issued(_ svid: SVID, now: Date) { self.machine.issued(svid, now: now, jitter: 0) }
    func failed(_ identity: SPIFFEID, now: Date) { self.machine.failed(identity, "why", now: now, jitter: 0) }
    func valid(at now: Date) -> Set<SPIFFEID> { Set(self.machine.valid(at: now).keys) }
    var statuses: [CertificateSchedule.Status] { self.machine.statuses }
}

struct ControlPlaneScheduleTests {
    private let start = Date(timeIntervalSince1970: 1_800_000_000)
    private let authority: TestAuthority
    private let schedule = Schedule()

    init() throws { self.authority = try TestAuthority(now: self.start) }

    private func at(_ seconds: Double) -> Date { self.start.addingTimeInterval(seconds) }

    @Test func `a wanted certificate is asked for at once and again at half life`() async throws {
        let id = try SPIFFEID.account("a")
        #expect(self.schedule.plan(now: self.at(0)) == .init(start: [], wake: nil))
        self.schedule.want([id], now: self.at(0))
        #expect(self.schedule.plan(now: self.at(0)) == .init(start: [id], wake: nil))
        // Under way: not asked again.
        #expect(self.schedule.plan(now: self.at(9)) == .init(start: [], wake: nil))
        self.schedule.issued(try await self.authority.svid(id, now: self.at(10)), now: self.at(10))
        #expect(self.schedule.plan(now: self.at(10)) == .init(start: [], wake: self.at(1810)))
        #expect(self.schedule.valid(at: self.at(10)) == [id])
        #expect(self.schedule.plan(now: self.at(1810)) == .init(start: [id], wake: self.at(3610)))
        #expect(self.schedule.statuses.map(\.isRequesting) == [true])
    }

    @Test func `failures back off and keep the valid certificate until it ends`() async throws {
        let id = try SPIFFEID.account("a")
        self.schedule.want([id], now: self.at(0))
        _ = self.schedule.plan(now: self.at(0))
        for (now, next) in [(0.0, 0.5), (0.5, 1.5), (1.5, 3.5)] {
            self.schedule.failed(id, now: self.at(now))
            #expect(self.schedule.plan(now: self.at(now)) == .init(start: [], wake: self.at(next)))
            #expect(self.schedule.plan(now: self.at(next)).start == [id])
        }
        self.schedule.issued(try await self.authority.svid(id, validity: 100, now: self.at(4)), now: self.at(4))
        #expect(self.schedule.plan(now: self.at(54)).start == [id])
        self.schedule.failed(id, now: self.at(54))
        // The backoff starts over after a success.
        #expect(self.schedule.plan(now: self.at(54)).wake == self.at(54.5))
        #expect(self.schedule.valid(at: self.at(103.9)) == [id])
        #expect(self.schedule.valid(at: self.at(104)) == [])
        #expect(self.schedule.statuses.map(\.lastError) == ["why"])
    }

    @Test func `new identities come before renewals, and few at once`() async throws {
        let old = try SPIFFEID.account("old")
        self.schedule.want([old], now: self.at(0))
        _ = self.schedule.plan(now: self.at(0))
        self.schedule.issued(try await self.authority.svid(old, validity: 100, now: self.at(0)), now: self.at(0))
        let new = try (0..<20).map { try SPIFFEID.account("new\($0)") }
        self.schedule.want(Set(new + [old]), now: self.at(60))
        let first = self.schedule.plan(now: self.at(60)).start
        #expect(first.count == 8)
        #expect(!first.contains(old))
        #expect(self.schedule.plan(now: self.at(60)).start == [])
        for id in first { self.schedule.failed(id, now: self.at(60)) }
        let second = self.schedule.plan(now: self.at(60)).start
        #expect(second.count == 8 && !second.contains(old))
        for id in second { self.schedule.failed(id, now: self.at(60)) }
        #expect(self.schedule.plan(now: self.at(60)).start.last == old)
    }

    @Test func `an identity that is not wanted any more is forgotten, even while asked for`() async throws {
        let id = try SPIFFEID.account("a")
        self.schedule.want([id], now: self.at(0))
        _ = self.schedule.plan(now: self.at(0))
        self.schedule.want([], now: self.at(0))
        self.schedule.issued(try await self.authority.svid(id, now: self.at(0)), now: self.at(0))
        self.schedule.failed(id, now: self.at(0))
        #expect(self.schedule.valid(at: self.at(0)) == [])
        #expect(self.schedule.statuses.isEmpty)
        #expect(self.schedule.plan(now: self.at(0)) == .init(start: [], wake: nil))
    }

    @Test func `what is missing is tried again when workloads were registered`() async throws {
        let (missing, held) = (try SPIFFEID.account("missing"), try SPIFFEID.account("held"))
        self.schedule.want([missing, held], now: self.at(0))
        _ = self.schedule.plan(now: self.at(0))
        self.schedule.retryFailed(now: self.at(0))
        #expect(self.schedule.plan(now: self.at(0)).start == [])
        self.schedule.failed(missing, now: self.at(0))
        self.schedule.issued(try await self.authority.svid(held, now: self.at(0)), now: self.at(0))
        self.schedule.retryFailed(now: self.at(0.1))
        #expect(self.schedule.plan(now: self.at(0.1)).start == [missing])
    }

    @Test func `what failed while the control plane was away is tried again when it is back`() async throws {
        let (over, usable, renewed) = (
            try SPIFFEID.account("over"), try SPIFFEID.account("usable"), try SPIFFEID.account("renewed")
        )
        self.schedule.want([over, usable, renewed], now: self.at(0))
        _ = self.schedule.plan(now: self.at(0))
        for (id, validity) in [(over, 60.0), (usable, 1000), (renewed, 1000)] {
            let svid = try await self.authority.svid(id, validity: validity, now: self.at(0))
            self.schedule.issued(svid, now: self.at(0))
        }
        // The waiting times are past a minute by then.
        for _ in 0..<9 {
            for id in [over, usable] { self.schedule.failed(id, now: self.at(100)) }
        }
        self.schedule.retryFailed(now: self.at(100))
        #expect(self.schedule.plan(now: self.at(100)).start == [over])
        #expect(self.schedule.plan(now: self.at(102)).start == [])
        #expect(self.schedule.plan(now: self.at(103)).start == [usable])
    }

    @Test func `a very short life does not become a loop of requests`() async throws {
        let id = try SPIFFEID.account("a")
        self.schedule.want([id], now: self.at(0))
        _ = self.schedule.plan(now: self.at(0))
        self.schedule.issued(try await self.authority.svid(id, validity: 2, now: self.at(0)), now: self.at(0))
        #expect(self.schedule.plan(now: self.at(1.5)).start == [])
        #expect(self.schedule.plan(now: self.at(5)).start == [id])
    }
}

struct ControlPlaneCertificateManagerTests {
    @Test func `certificates are published, renewed and dropped`() async throws {
        let clock = ManualClock()
        let authority = try TestAuthority(now: clock.now)
        let plane = FakeControlPlane()
        let published = Mutex<[[SPIFFEID: String]]>([])
        let manager = CertificateManager(
            signer: plane, bundle: { authority.bundle }, clock: clock, logger: Logger(label: "test")
        ) { svids in published.withLock { $0.append(svids.mapValues(\.serial)) } }
        let id = try SPIFFEID.account("a")
        manager.setIdentities([id])
        let running = Task { try await manager.run() }
        // Refused until the workload is registered.
        #expect(await clock.advance { plane.state.withLock { $0.signs.count } >= 2 })
        #expect(manager.summaries(node: "n1").map(\.state) == ["pending"])
        #expect(manager.summaries(node: "n1").map(\.lastError) == ["not signed"])
        plane.state.withLock { state in
            state.sign = { csr, identity in try authority.sign(csr, identity, now: clock.now) }
        }
        manager.retryFailed()
        #expect(await clock.advance { published.withLock { $0.count } == 1 })
        #expect(manager.summaries(node: "n1").map(\.state) == ["valid"])
        // On a busy machine time may run past the end of the first one before the second is there.
        #expect(
            await clock.advance(in: .seconds(30)) { published.withLock { Set($0.flatMap(\.values)).count } == 2 })
        // A certificate for another name is not taken.
        plane.state.withLock { state in
            state.sign = { csr, _ in
                try authority.sign(
                    try SigningRequest.make(key: IdentityKey(), identity: nil), try .account("b"), now: clock.now)
            }
        }
        let before = plane.state.withLock { $0.signs.count }
        #expect(await clock.advance(in: .seconds(30)) { plane.state.withLock { $0.signs.count } > before + 1 })
        #expect(await clock.advance(in: .seconds(30)) { published.withLock { $0.last } == [:] })
        #expect(manager.summaries(node: "n1").map(\.state) == ["expired"])
        manager.setIdentities([])
        #expect(manager.summaries(node: "n1").isEmpty)
        running.cancel()
        try await running.value
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import MeshDiscovery
import MeshIdentity
import MeshModel
import Synchronization

@testable import MeshAgent

/// Time that passes when a test says so.
final class ManualClock: AgentClock {
    private struct State {
        var now: Date
        var uptime: Duration = .seconds(1000)
        var sleepers: [UInt64: (until: Duration, continuation: CheckedContinuation<Void, any Error>)] = [:]
        var cancelled: Set<UInt64> = []
        var last: UInt64 = 0
    }

    private let state: Mutex<State>

    init(_ now: Date = Date(timeIntervalSince1970: 1_800_000_000)) { self.state = Mutex(State(now: now)) }

    var now: Date { self.state.withLock { $0.now } }
    var uptime: Duration { self.state.withLock { $0.uptime } }
    /// How many wait for time to pass.
    var sleepers: Int { self.state.withLock { $0.sleepers.count } }
    func jitter() -> Double { 0 }

    func sleep(for duration: Duration) async throws {
        let id = self.state.withLock { state in
            state.last += 1
            return state.last
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let isCancelled = self.state.withLock { state in
                    if state.cancelled.remove(id) != nil { return true }
                    state.sleepers[id] = (state.uptime + duration, continuation)
                    return false
                }
                if isCancelled { continuation.resume(throwing: CancellationError()) }
            }
        } onCancel: {
            let sleeper = self.state.withLock { state in
                let sleeper = state.sleepers.removeValue(forKey: id)
                if sleeper == nil { state.cancelled.insert(id) }
                return sleeper
            }
            sleeper?.continuation.resume(throwing: CancellationError())
        }
    }

    func advance(by duration: Duration) {
        let due = self.state.withLock { state in
            state.now += duration.interval
            state.uptime += duration
            let uptime = state.uptime
            let due = state.sleepers.filter { $0.value.until <= uptime }
            for id in due.keys { state.sleepers[id] = nil }
            return due
        }
        for sleeper in due.values { sleeper.continuation.resume() }
    }

    /// Somebody sets the clock; no time passes.
    func set(by step: TimeInterval) { self.state.withLock { $0.now += step } }

    /// Waits until something has happened, while this clock stands still: however slow the machine is.
    func wait(until condition: () -> Bool) async -> Bool {
        let end = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < end {
            if condition() { return true }
            do { try await Task.sleep(for: .milliseconds(1)) } catch { return condition() }
        }
        return condition()
    }

    /// Lets time pass until something has happened.
    func advance(in step: Duration = .milliseconds(20), until condition: () -> Bool) async -> Bool {
        for _ in 0..<20_000 {
            if condition() { return true }
            self.advance(by: step)
            for _ in 0..<20 { await Task.yield() }
            if condition() { return true }
            // On a machine with much to do the others must not fall behind by minutes of this clock.
            try? await Task.sleep(for: .milliseconds(1))
        }
        return condition()
    }
}

/// A mesh's authority as tests need it.
struct TestAuthority {
    let authority: CertificateAuthority
    let bundle: TrustBundle

    init(now: Date) throws {
        self.authority = try CertificateAuthority.create(trustDomain: "mesh.internal", now: now)
        self.bundle = try self.authority.trustBundle()
    }

    func sign(_ csrPEM: String, _ identity: SPIFFEID, validity: TimeInterval = 3600, now: Date) throws -> [String] {
        try self.authority.sign(csrPEM: csrPEM, identity: identity, validity: validity, now: now).chainPEM
    }

    func svid(_ identity: SPIFFEID, validity: TimeInterval = 3600, now: Date) async throws -> SVID {
        let key = IdentityKey()
        let request = try SigningRequest.make(key: key, identity: identity)
        return try await SVID(
            identity: identity, chainPEM: try self.sign(request, identity, validity: validity, now: now), key: key,
            bundle: self.bundle, now: now)
    }

    func credentials(_ node: String = "n1", validity: TimeInterval = 3600, now: Date) async throws -> NodeCredentials {
        NodeCredentials(
            node: node, svid: try await self.svid(.node(node), validity: validity, now: now), bundle: self.bundle)
    }
}

extension SPIFFEID {
    static func node(_ name: String) throws -> SPIFFEID {
        guard let id = SPIFFEID("spiffe://mesh.internal/node/\(name)") else {
            throw ControlPlaneError(.badAnswer, name)
        }
        return id
    }

    static func account(_ name: String) throws -> SPIFFEID {
        guard let id = SPIFFEID("spiffe://mesh.internal/ns/shop/sa/\(name)") else {
            throw ControlPlaneError(.badAnswer, name)
        }
        return id
    }
}

/// A directory that is gone after the test.
final class TemporaryDirectory {
    let path: String

    init() { self.path = FileManager.default.temporaryDirectory.path + "/nodemesh-test-\(UUID().uuidString)" }

    deinit { try? FileManager.default.removeItem(atPath: self.path) }

    func mode(_ name: String = "") throws -> Int {
        let attributes = try FileManager.default.attributesOfItem(atPath: self.path + name)
        return (attributes[.posixPermissions] as? NSNumber)?.intValue ?? -1
    }
}

/// A control plane whose answers a test writes.
final class FakeControlPlane: ControlPlaneDialler, ControlPlaneSession {
    typealias Request = Envoy_Service_Discovery_V3_DeltaDiscoveryRequest
    typealias Response = Envoy_Service_Discovery_V3_DeltaDiscoveryResponse
    typealias Handle = @Sendable (Response) throws -> Request

    struct State {
        var grant: Result<JoinGrant, ControlPlaneError> = .failure(ControlPlaneError(.unreachable, "no grant"))
        var joins: [(token: String, node: String, csr: String)] = []
        var makeGrant: (@Sendable (String) throws -> JoinGrant)?
        var signs: [SPIFFEID] = []
        var sign: (@Sendable (String, SPIFFEID) throws -> [String])?
        var sessions: [NodeCredentials] = []
        var isUnreachable = false
        var registrations: [(registration: NodeRegistration, generation: UInt64)] = []
        var refusals: [WorkloadID: String] = [:]
        var heartbeats: [UInt64] = []
        var reports: [TrustReport] = []
        var needsRegistration = false
        var decisionReports: [(report: DecisionLog.Report, run: UInt64)] = []
        var losesReports = false
        var first: [[Request]] = []
        var replies: [Request] = []
        var responses: AsyncStream<Response>.Continuation?
    }

    let state = Mutex(State())

    func join(
        token: String, node: String, csrPEM: String, fingerprint: CertificateFingerprint
    ) async throws(ControlPlaneError) -> JoinGrant {
        let (make, grant) = self.state.withLock { state in
            state.joins.append((token, node, csrPEM))
            return (state.makeGrant, state.grant)
        }
        if let make, let made = try? make(csrPEM) { return made }
        return try grant.get()
    }

    func withSession(
        _ credentials: NodeCredentials, _ body: @escaping @Sendable (any ControlPlaneSession) async throws -> Void
    ) async throws {
        let isUnreachable = self.state.withLock { state in
            state.sessions.append(credentials)
            return state.isUnreachable
        }
        if isUnreachable { throw ControlPlaneError(.unreachable, "down") }
        try await body(self)
    }

    func sign(
        csrPEM: String, for identity: SPIFFEID, validity: Duration?
    ) async throws(ControlPlaneError) -> [String] {
        let sign = self.state.withLock { state in
            state.signs.append(identity)
            return state.sign
        }
        do {
            guard let sign else { throw ControlPlaneError(.refused, "not signed") }
            return try sign(csrPEM, identity)
        } catch let error as ControlPlaneError {
            throw error
        } catch {
            throw ControlPlaneError(.badAnswer, "\(error)")
        }
    }

    func register(
        _ registration: NodeRegistration, generation: UInt64
    ) async throws(ControlPlaneError) -> RegistrationResult {
        self.state.withLock { state in
            state.registrations.append((registration, generation))
            return RegistrationResult(refusals: state.refusals, heartbeatInterval: .seconds(5))
        }
    }

    func heartbeat(generation: UInt64, report: TrustReport) async throws(ControlPlaneError) -> HeartbeatResult {
        self.state.withLock { state in
            state.reports.append(report)
            state.heartbeats.append(generation)
            defer { state.needsRegistration = false }
            return HeartbeatResult(needsRegistration: state.needsRegistration, heartbeatInterval: nil)
        }
    }

    func report(_ report: DecisionLog.Report, run: UInt64) async throws(ControlPlaneError) -> Duration? {
        let isDown = self.state.withLock { state in
            state.decisionReports.append((report, run))
            return state.losesReports
        }
        if isDown { throw ControlPlaneError(.unreachable, "down") }
        return .seconds(20)
    }

    func discover(first: [Request], handle: @escaping Handle) async throws(ControlPlaneError) {
        let (responses, continuation) = AsyncStream.makeStream(of: Response.self)
        self.state.withLock { state in
            state.first.append(first)
            state.responses = continuation
        }
        do {
            for await response in responses {
                let reply = try handle(response)
                self.state.withLock { $0.replies.append(reply) }
            }
        } catch let error as DiscoveryError where error.code == .rolledBack {
            throw ControlPlaneError(.rolledBack, error.message)
        } catch {
            throw ControlPlaneError(.badAnswer, "\(error)")
        }
    }

    func send(_ responses: [Response]) {
        let continuation = self.state.withLock { $0.responses }
        for response in responses { continuation?.yield(response) }
    }

    /// Breaks the discovery stream.
    func hangUp() { self.state.withLock { $0.responses }?.finish() }
}

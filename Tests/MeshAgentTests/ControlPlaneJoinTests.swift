// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshIdentity
import MeshModel
import Synchronization
import Testing
import X509

@testable import MeshAgent

struct ControlPlaneCredentialStoreTests {
    private let clock = ManualClock()

    @Test func `credentials survive, readable by their owner alone`() async throws {
        let directory = TemporaryDirectory()
        let store = NodeCredentialStore(directory: directory.path)
        #expect(try await store.load(node: "n1", now: self.clock.now) == nil)
        let credentials = try await TestAuthority(now: self.clock.now).credentials(now: self.clock.now)
        for _ in 0..<2 {
            try store.save(credentials)
            let loaded = try #require(try await store.load(node: "n1", now: self.clock.now))
            #expect(loaded.svid.serial == credentials.svid.serial)
            #expect(loaded.svid.key.pem == credentials.svid.key.pem)
            #expect(loaded.bundle == credentials.bundle)
            #expect(loaded.trustDomain == "mesh.internal")
        }
        #expect(try directory.mode() == 0o700)
        #expect(try directory.mode("/node.pem") == 0o600)
        #expect(try directory.mode("/trust-bundle.pem") == 0o600)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).count == 2)
    }

    @Test func `a certificate that has ended, or not begun by this clock, is given all the same`() async throws {
        let directory = TemporaryDirectory()
        let store = NodeCredentialStore(directory: directory.path)
        let authority = try TestAuthority(now: self.clock.now)
        let credentials = try await authority.credentials(now: self.clock.now)
        try store.save(credentials)
        for seconds in [-100_000, 0, 3601, 100_000] as [TimeInterval] {
            let loaded = try await store.load(node: "n1", now: self.clock.now.addingTimeInterval(seconds))
            #expect(loaded?.svid.serial == credentials.svid.serial, "\(seconds)")
        }
    }

    @Test func `what cannot be used is said, with the way out`() async throws {
        let directory = TemporaryDirectory()
        let store = NodeCredentialStore(directory: directory.path)
        let authority = try TestAuthority(now: self.clock.now)
        let (node, bundle) = (directory.path + "/node.pem", directory.path + "/trust-bundle.pem")
        let other = try TestAuthority(now: self.clock.now).bundle.pem[0]
        let cases: [(String, node: (String) -> String, bundle: (String) -> String?, name: String, seconds: Double)] = [
            ("another name", { $0 }, { $0 }, "n2", 0),
            ("empty", { _ in "" }, { $0 }, "n1", 0), ("cut", { String($0.dropLast(60)) }, { $0 }, "n1", 0),
            ("no key", { String($0.prefix(400)) }, { $0 }, "n1", 0),
            ("no bundle", { $0 }, { _ in nil }, "n1", 0), ("empty bundle", { $0 }, { _ in "" }, "n1", 0),
            ("another bundle", { $0 }, { _ in other }, "n1", 0),
        ]
        for (name, changeNode, changeBundle, loadedAs, seconds) in cases {
            try store.save(try await authority.credentials(now: self.clock.now))
            try changeNode(try String(contentsOfFile: node, encoding: .utf8))
                .write(toFile: node, atomically: true, encoding: .utf8)
            if let text = changeBundle(try String(contentsOfFile: bundle, encoding: .utf8)) {
                try text.write(toFile: bundle, atomically: true, encoding: .utf8)
            } else {
                try FileManager.default.removeItem(atPath: bundle)
            }
            do throws(ControlPlaneError) {
                _ = try await store.load(node: loadedAs, now: self.clock.now.addingTimeInterval(seconds))
                Issue.record("loaded: \(name)")
            } catch {
                #expect(error.code == .storage, "\(name)")
                #expect(error.message.contains("--join-token"), "\(name)")
                #expect(!error.message.contains("PRIVATE"), "\(name)")
            }
        }
    }
}

struct ControlPlaneJoinTests {
    private let clock = ManualClock()
    private let directory = TemporaryDirectory()
    private let plane = FakeControlPlane()
    private let authority: TestAuthority

    init() throws { self.authority = try TestAuthority(now: self.clock.now) }

    private var join: NodeJoin {
        NodeJoin(
            store: NodeCredentialStore(directory: self.directory.path), dialler: self.plane, clock: self.clock)
    }

    private func grant(
        _ change: @escaping @Sendable (inout JoinGrant) -> Void = { _ in }, as node: String = "n1"
    ) throws {
        let (authority, now, identity) = (self.authority, self.clock.now, try SPIFFEID.node(node))
        self.plane.state.withLock {
            $0.makeGrant = { csr in
                var grant = JoinGrant(chain: try authority.sign(csr, identity, now: now), bundle: authority.bundle.pem)
                change(&grant)
                return grant
            }
        }
    }

    @Test func `a token is exchanged once, then the kept credentials are used`() async throws {
        try self.grant()
        let fingerprint = try self.authority.authority.fingerprint().description
        let first = try await self.join.credentials(node: "n1", token: "nmjt.a.b", fingerprint: fingerprint)
        #expect(try first.svid.identity == .node("n1"))
        let again = try await self.join.credentials(node: "n1", token: "nmjt.a.b", fingerprint: fingerprint)
        #expect(again.svid.serial == first.svid.serial)
        #expect(self.plane.state.withLock { $0.joins.map(\.token) } == ["nmjt.a.b"])
        await #expect(throws: ControlPlaneError(.alreadyJoined, "")) {
            try await self.join.join(node: "n1", token: "nmjt.c.d", fingerprint: fingerprint)
        }
    }

    @Test func `nothing is sent without a token and a fingerprint that make sense`() async throws {
        let fingerprint = try self.authority.authority.fingerprint().description
        let cases: [(String, String?, String?)] = [
            ("n1", nil, nil), ("n1", "t", nil), ("n1", nil, fingerprint), ("n1", "t", "sha256:00"), ("n1", "t", ""),
            ("a/b", "t", fingerprint), ("", "t", fingerprint),
        ]
        for (node, token, fingerprint) in cases {
            await #expect(throws: ControlPlaneError(.notJoined, "")) {
                try await self.join.credentials(node: node, token: token, fingerprint: fingerprint)
            }
        }
        #expect(self.plane.state.withLock { $0.joins.isEmpty })
    }

    @Test func `the control plane's refusal is passed on and nothing is kept`() async throws {
        self.plane.state.withLock { $0.grant = .failure(ControlPlaneError(.tokenRefused, "used")) }
        let fingerprint = try self.authority.authority.fingerprint().description
        await #expect(throws: ControlPlaneError(.tokenRefused, "")) {
            try await self.join.join(node: "n1", token: "t", fingerprint: fingerprint)
        }
        #expect(!FileManager.default.fileExists(atPath: self.directory.path + "/node.pem"))
    }

    @Test func `grants that must be refused`() async throws {
        let fingerprint = try self.authority.authority.fingerprint().description
        let stranger = try TestAuthority(now: self.clock.now)
        let elsewhere = try await stranger.svid(try .node("n1"), now: self.clock.now).chainPEM
        let cases: [@Sendable (inout JoinGrant) -> Void] = [
            { $0.chain = [] }, { $0.chain = ["x"] }, { $0.chain = elsewhere }, { $0.bundle = [] },
            { $0.bundle = ["x"] }, { $0.bundle = stranger.bundle.pem }, { $0.chain.reverse() },
        ]
        for change in cases {
            try self.grant(change)
            await #expect(throws: ControlPlaneError(.badAnswer, "")) {
                try await self.join.join(node: "n1", token: "t", fingerprint: fingerprint)
            }
        }
        try self.grant(as: "n2")
        await #expect(throws: ControlPlaneError(.badAnswer, "")) {
            try await self.join.join(node: "n1", token: "t", fingerprint: fingerprint)
        }
        #expect(!FileManager.default.fileExists(atPath: self.directory.path + "/node.pem"))
    }

    @Test(arguments: ControlPlaneError.Code.allCases)
    func `only a control plane that cannot be reached is asked again`(_ code: ControlPlaneError.Code) async throws {
        let plane = self.plane
        plane.state.withLock { $0.grant = .failure(ControlPlaneError(code, "first")) }
        let (join, fingerprint) = (self.join, try self.authority.authority.fingerprint().description)
        let pauses = Mutex<[Duration]>([])
        let waiting = Task {
            try await join.credentials(
                node: "n1", token: "t", fingerprint: fingerprint, retryingAfter: ControlPlaneError(code, "zeroth")
            ) { _, pause in
                pauses.withLock { $0.append(pause) }
            }
        }
        guard code == .unreachable else {
            await #expect(throws: ControlPlaneError(code, "")) { try await waiting.value }
            #expect(plane.state.withLock { $0.joins.isEmpty })
            return
        }
        // The fake clock has no jitter.
        let expected: [Duration] = [0.5, 1, 2, 4, 8, 15, 15].map { .milliseconds(Int($0 * 1000)) }
        for (index, pause) in expected.enumerated() {
            #expect(await self.clock.wait { self.clock.sleepers == 1 })
            #expect(plane.state.withLock { $0.joins.count } == index)
            self.clock.advance(by: pause - .milliseconds(1))
            #expect(self.clock.sleepers == 1)
            if index == expected.count - 1 { try self.grant() }
            self.clock.advance(by: .milliseconds(1))
            #expect(await self.clock.wait { plane.state.withLock { $0.joins.count } == index + 1 })
        }
        #expect(try await waiting.value.svid.identity == .node("n1"))
        #expect(pauses.withLock { $0 } == expected)
    }

    @Test func `a token that is refused after a request without an answer may have been used by that`() async throws {
        self.plane.state.withLock { $0.grant = .failure(ControlPlaneError(.tokenRefused, "already used")) }
        let (join, fingerprint) = (self.join, try self.authority.authority.fingerprint().description)
        let waiting = Task {
            try await join.credentials(
                node: "n1", token: "t", fingerprint: fingerprint,
                retryingAfter: ControlPlaneError(.unreachable, "no answer in time")
            ) { _, _ in }
        }
        #expect(await self.clock.wait { self.clock.sleepers == 1 })
        self.clock.advance(by: .seconds(1))
        do {
            _ = try await waiting.value
            Issue.record("joined")
        } catch let error as ControlPlaneError {
            #expect(error.code == .tokenRefused)
            #expect(error.message.contains("already used") && error.message.contains("did not arrive"))
        }
    }

    @Test func `who waits for the control plane can be told to stop`() async throws {
        self.plane.state.withLock { $0.grant = .failure(ControlPlaneError(.unreachable, "down")) }
        let (join, fingerprint) = (self.join, try self.authority.authority.fingerprint().description)
        let waiting = Task {
            try await join.credentials(
                node: "n1", token: "t", fingerprint: fingerprint, retryingAfter: ControlPlaneError(.unreachable, "down")
            ) { _, _ in }
        }
        #expect(await self.clock.wait { self.clock.sleepers == 1 })
        waiting.cancel()
        await #expect(throws: ControlPlaneError(.unreachable, "")) { try await waiting.value }
        #expect(self.plane.state.withLock { $0.joins.isEmpty })
    }

    @Test func `a data directory that cannot be written does not cost the token`() async throws {
        try self.grant()
        let fingerprint = try self.authority.authority.fingerprint().description
        let join = NodeJoin(
            store: NodeCredentialStore(directory: "/proc/nodemesh"), dialler: self.plane, clock: self.clock)
        await #expect(throws: ControlPlaneError(.storage, "")) {
            try await join.join(node: "n1", token: "t", fingerprint: fingerprint)
        }
        #expect(self.plane.state.withLock { $0.joins.isEmpty })
    }
}

struct ControlPlaneTLSTests {
    @Test func `who may be the control plane`() async throws {
        let now = Date(timeIntervalSince1970: 1_800_000_000)
        let (own, other) = (try TestAuthority(now: now), try TestAuthority(now: now))
        let pin = try own.authority.fingerprint()
        let server = try own.authority.makeServerCertificate(names: ["10.0.0.1"], validity: 3600, now: now).certificate
        let fake = try other.authority.makeServerCertificate(names: [], validity: 3600, now: now).certificate
        let node = try own.authority.sign(
            csrPEM: try SigningRequest.make(key: IdentityKey(), identity: nil), identity: try .node("n1"),
            validity: 3600, now: now)
        let (root, leaf) = (own.authority.root, server.certificate)
        typealias Trust = ControlPlaneTLS.Trust
        let cases: [(String, [Certificate], Trust, Bool)] = [
            ("pinned", [leaf, root], .pinned(pin), true),
            ("pinned, root not presented", [leaf], .pinned(pin), false),
            ("pinned, another mesh", [fake.certificate, other.authority.root], .pinned(pin), false),
            ("pinned root beside another's leaf", [fake.certificate, root], .pinned(pin), false),
            ("pinned, a node", [node.certificate, root], .pinned(pin), false),
            ("pinned, the root alone", [root], .pinned(pin), false),
            ("pinned, nothing", [], .pinned(pin), false),
            ("bundle", [leaf], .bundle(own.bundle), true),
            ("bundle, another mesh", [fake.certificate, other.authority.root], .bundle(own.bundle), false),
            ("bundle, a node", [node.certificate, root], .bundle(own.bundle), false),
        ]
        for (name, chain, trust, isGood) in cases {
            do throws(IdentityError) {
                try await ControlPlaneTLS.verify(chain, trust: trust, now: now)
                #expect(isGood, "\(name)")
            } catch {
                #expect(!isGood, "\(name): \(error)")
            }
        }
        do throws(IdentityError) {
            try await ControlPlaneTLS.verify(
                [fake.certificate, other.authority.root], trust: .pinned(pin), now: now)
        } catch {
            // Both fingerprints, so that the operator can compare.
            #expect(error.message.contains("\(pin)"))
            #expect(try error.message.contains("\(other.authority.fingerprint())"))
        }
    }
}

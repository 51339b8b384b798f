// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshAPI
import MeshDiscovery
import MeshIdentity
import MeshModel
import SwiftProtobuf
import Synchronization
import Testing

@testable import MeshAgent

struct ControlPlaneClientTests {
    typealias Response = FakeControlPlane.Response

    private let clock = ManualClock()
    private let directory = TemporaryDirectory()
    private let plane = FakeControlPlane()
    private let authority: TestAuthority
    private let seen = Seen()

    private final class Seen: Sendable {
        let states = Mutex<[MeshState]>([])
        let refusals = Mutex<[[WorkloadID: String]]>([])
    }

    init() throws { self.authority = try TestAuthority(now: self.clock.now) }

    private func client(
        validity: TimeInterval = 86400, discovery: DeltaClient? = nil, freshness: ViewFreshness? = nil,
        faults: StateFaults? = nil, rejoin: (@Sendable () async throws -> NodeCredentials)? = nil
    ) async throws -> ControlPlaneClient {
        let seen = self.seen
        return ControlPlaneClient(
            credentials: try await self.authority.credentials(validity: validity, now: self.clock.now),
            store: NodeCredentialStore(directory: self.directory.path), dialler: self.plane, clock: self.clock,
            logger: Logger(label: "test"), discovery: discovery, freshness: freshness, faults: faults, rejoin: rejoin,
            handlers: .init(
                state: { state in seen.states.withLock { $0.append(state) } },
                registered: { refusals in seen.refusals.withLock { $0.append(refusals) } }))
    }

    private func response(_ resource: MeshResource?, of type: ResourceType) throws -> Response {
        try .with {
            $0.typeURL = type.typeURL
            $0.nonce = "1"
            guard let resource else { return }
            let encoded = try resource.encoded()
            $0.resources = [
                .with {
                    $0.name = encoded.name
                    $0.version = encoded.version
                    $0.resource.typeURL = type.typeURL
                    $0.resource.value = encoded.payload
                }
            ]
        }
    }

    private func responses(bundle: [String]? = nil) throws -> [Response] {
        let settings = MeshSettings(
            trustDomain: "mesh.internal", prefixes: [], trustBundle: bundle ?? self.authority.bundle.pem,
            rootNamespace: "nodemesh-system")
        return [
            try self.response(.settings(settings), of: .mesh),
            try self.response(.node(Node(name: "n2", addresses: [], tunnelPort: 15008)), of: .node),
            try self.response(nil, of: .authorization), try self.response(nil, of: .address),
        ]
    }

    private func registration(_ names: [String] = ["web"]) -> NodeRegistration {
        NodeRegistration(
            addresses: [IPAddress(ipv4: 0x0a00_0001)], tunnelPort: 15008,
            workloads: names.map {
                WorkloadRegistration(
                    id: WorkloadID(namespace: "shop", name: $0), serviceAccount: "web", labels: [:], addresses: [])
            })
    }

    /// Until the n-th discovery stream is open.
    private func stream(_ count: Int) async -> Bool {
        await self.clock.advance { self.plane.state.withLock { $0.first.count } >= count }
    }

    @Test func `state is published once it is whole, and again on change`() async throws {
        let client = try await self.client()
        let running = Task { try await client.run() }
        #expect(await self.stream(1))
        #expect(!client.status.isConnected)
        let responses = try self.responses()
        self.plane.send(Array(responses.dropLast()))
        #expect(await self.clock.advance { self.plane.state.withLock { $0.replies.count } == 3 })
        self.clock.advance(by: .seconds(1))
        #expect(self.seen.states.withLock { $0.isEmpty })
        self.plane.send(responses.suffix(1))
        #expect(await self.clock.advance { self.seen.states.withLock { $0.count } == 1 })
        #expect(self.seen.states.withLock { $0[0].nodes.map(\.name) } == ["n2"])
        #expect(client.status.isConnected)
        #expect(client.status.lastConfirmed != nil)
        self.plane.send([
            .with {
                $0.typeURL = ResourceType.node.typeURL
                $0.nonce = "2"
                $0.removedResources = ["n2"]
            }
        ])
        #expect(await self.clock.advance { self.seen.states.withLock { $0.count } == 2 })
        #expect(self.seen.states.withLock { $0[1].nodes.isEmpty })
        running.cancel()
        try await running.value
        #expect(!client.status.isConnected)
    }

    @Test func `a broken stream is resumed from what is held`() async throws {
        let client = try await self.client()
        let running = Task { try await client.run() }
        #expect(await self.stream(1))
        self.plane.send(try self.responses())
        #expect(await self.clock.advance { client.status.isConnected && !self.seen.states.withLock { $0.isEmpty } })
        self.plane.state.withLock { $0.isUnreachable = true }
        self.plane.hangUp()
        #expect(await self.clock.advance { client.status.lastError == "down" })
        #expect(!client.status.isConnected)
        await #expect(throws: ControlPlaneError(.unreachable, "")) {
            try await client.sign(csrPEM: "", for: try .account("a"), validity: nil)
        }
        // It backs off: at most a few attempts in ten seconds.
        let before = self.plane.state.withLock { $0.sessions.count }
        for _ in 0..<100 {
            self.clock.advance(by: .milliseconds(100))
            for _ in 0..<50 { await Task.yield() }
        }
        #expect(self.plane.state.withLock { $0.sessions.count } - before < 9)
        self.plane.state.withLock { $0.isUnreachable = false }
        #expect(await self.clock.advance(in: .milliseconds(500)) { self.plane.state.withLock { $0.first.count } == 2 })
        let resumed = self.plane.state.withLock { $0.first[1] }
        #expect(Set(resumed[0].initialResourceVersions.keys) == ["mesh"])
        #expect(Set(resumed[1].initialResourceVersions.keys) == ["n2"])
        running.cancel()
        try await running.value
    }

    @Test func `workloads are registered, kept alive and registered again on demand`() async throws {
        let client = try await self.client()
        client.setRegistration(self.registration())
        let refused = [WorkloadID(namespace: "shop", name: "api"): "no"]
        self.plane.state.withLock { $0.refusals = refused }
        let running = Task { try await client.run() }
        #expect(await self.clock.advance { self.plane.state.withLock { $0.registrations.count } == 1 })
        #expect(await self.clock.advance { self.seen.refusals.withLock { $0 } == [refused] })
        #expect(await self.clock.advance { self.plane.state.withLock { $0.heartbeats.count } == 2 })
        let generation = self.plane.state.withLock { $0.registrations[0].generation }
        #expect(self.plane.state.withLock { Set($0.heartbeats) } == [generation])
        // The same again is no change; another one is, with a higher generation.
        client.setRegistration(self.registration())
        client.setRegistration(self.registration(["web", "api"]))
        #expect(await self.clock.advance { self.plane.state.withLock { $0.registrations.count } == 2 })
        #expect(self.plane.state.withLock { $0.registrations[1].generation } == generation + 1)
        // The control plane lost it.
        self.plane.state.withLock { $0.needsRegistration = true }
        #expect(await self.clock.advance { self.plane.state.withLock { $0.registrations.count } == 3 })
        #expect(self.plane.state.withLock { $0.registrations[2].registration } == self.registration(["web", "api"]))
        running.cancel()
        try await running.value
    }

    @Test func `the node's certificate is renewed at half life and the session with it`() async throws {
        let client = try await self.client(validity: 600)
        let old = client.credentials.svid
        let running = Task { try await client.run() }
        #expect(await self.clock.wait { self.plane.state.withLock { $0.first.count } == 1 })
        self.plane.send(try self.responses())
        #expect(await self.clock.wait { client.status.isConnected })
        // Whoever waits for a time waits now, so that time can pass at once.
        #expect(await self.clock.wait { self.clock.sleepers >= 2 })
        self.clock.advance(by: .seconds(310))
        // Refused at first: the old one stays in use.
        #expect(await self.clock.advance(in: .milliseconds(100)) { self.plane.state.withLock { $0.signs.count } >= 2 })
        #expect(client.credentials.svid.serial == old.serial)
        let (authority, clock) = (self.authority, self.clock)
        self.plane.state.withLock { state in
            state.sign = { csr, identity in try authority.sign(csr, identity, validity: 600, now: clock.now) }
        }
        #expect(
            await self.clock.advance(in: .milliseconds(100)) { self.plane.state.withLock { $0.sessions.count } == 2 })
        let new = client.credentials.svid
        #expect(new.serial != old.serial)
        #expect(new.key.pem != old.key.pem)
        #expect(self.plane.state.withLock { $0.sessions[1].svid.serial } == new.serial)
        let kept = try await NodeCredentialStore(directory: self.directory.path).load(node: "n1", now: self.clock.now)
        #expect(kept?.svid.serial == new.serial)
        running.cancel()
        try await running.value
    }

    @Test func `what the last run held is a view at once and is resumed from`() async throws {
        var kept = DeltaClient(node: "n1", trustDomain: "mesh.internal")
        _ = kept.connected()
        for response in try self.responses() { _ = try kept.received(response) }
        let freshness = ViewFreshness(clock: self.clock)
        freshness.restored(confirmedAt: self.clock.now.addingTimeInterval(-90))
        self.plane.state.withLock { $0.isUnreachable = true }
        let client = try await self.client(discovery: kept, freshness: freshness)
        let running = Task { try await client.run() }
        // No time passes, and nobody answers.
        #expect(await self.clock.wait { self.seen.states.withLock { $0.count } == 1 })
        #expect(self.seen.states.withLock { $0[0] } == kept.state)
        #expect(!client.status.isConnected)
        #expect(freshness.age == .seconds(90))
        self.plane.state.withLock { $0.isUnreachable = false }
        #expect(await self.stream(1))
        #expect(self.plane.state.withLock { $0.first[0][1].initialResourceVersions.keys.sorted() } == ["n2"])
        running.cancel()
        try await running.value
    }

    @Test func `an older store of the control plane is refused until it has caught up`() async throws {
        let client = try await self.client(
            discovery: DeltaClient(node: "n1", trustDomain: "mesh.internal", seenRevision: 40))
        client.setRegistration(self.registration())
        let running = Task { try await client.run() }
        func send(revision: Int) throws {
            self.plane.send(
                try self.responses().map { response in
                    var response = response
                    response.systemVersionInfo = "@\(revision) 1"
                    return response
                })
        }
        #expect(await self.stream(1))
        try send(revision: 39)
        #expect(await self.clock.wait { client.status.isRolledBack })
        #expect(client.status.lastError?.contains("revision 39") == true)
        // Registrations go on, and tell the control plane what this node has seen.
        #expect(await self.clock.advance { self.plane.state.withLock { $0.heartbeats.count } >= 2 })
        #expect(self.plane.state.withLock { $0.reports.last?.revision } == 40)
        #expect(!client.status.isConnected)
        #expect(self.seen.states.withLock { $0.isEmpty })
        #expect(await self.stream(2))
        #expect(self.plane.state.withLock { $0.sessions.count } == 1)
        try send(revision: 41)
        #expect(await self.clock.advance { self.seen.states.withLock { $0.count } == 1 })
        #expect(client.status.isConnected && !client.status.isRolledBack)
        running.cancel()
        try await running.value
    }

    @Test func `a control plane that takes the connection and says nothing is unreachable`() async throws {
        let client = try await self.client()
        let running = Task { try await client.run() }
        #expect(await self.clock.wait { self.plane.state.withLock { $0.first.count } == 1 })
        #expect(await self.clock.wait { self.clock.sleepers >= 2 })
        self.clock.advance(by: .seconds(21))
        #expect(await self.clock.wait { client.status.lastError?.contains("does not answer") == true })
        // And is tried again.
        #expect(await self.stream(2))
        running.cancel()
        try await running.value
    }

    @Test func `an expired certificate is told of, and replaced when there is a token`() async throws {
        let fresh = try await self.authority.credentials(now: self.clock.now.addingTimeInterval(1000))
        let isAllowed = Mutex(false)
        let client = try await self.client(validity: 10) {
            guard isAllowed.withLock({ $0 }) else { throw ControlPlaneError(.tokenRefused, "used") }
            return fresh
        }
        self.clock.advance(by: .seconds(1000))
        isAllowed.withLock { $0 = true }
        let running = Task { try await client.run() }
        #expect(await self.clock.wait { self.plane.state.withLock { $0.sessions.count } == 1 })
        #expect(self.plane.state.withLock { $0.sessions[0].svid.serial } == fresh.svid.serial)
        running.cancel()
        try await running.value

        let other = try await self.client(validity: 10)
        self.clock.advance(by: .seconds(20))
        let alone = Task { try await other.run() }
        #expect(await self.clock.wait { other.status.lastError?.contains("join-token create --node n1") == true })
        #expect(self.plane.state.withLock { $0.sessions.count } == 1)
        alone.cancel()
        try await alone.value
    }

    @Test func `credentials that cannot be written are used all the same`() async throws {
        // A file where the directory should be.
        try Data().write(to: URL(filePath: self.directory.path))
        let faults = StateFaults(logger: Logger(label: "test"))
        let client = try await self.client(validity: 600, faults: faults)
        let old = client.credentials.svid.serial
        let (authority, clock) = (self.authority, self.clock)
        self.plane.state.withLock { state in
            state.sign = { csr, identity in try authority.sign(csr, identity, validity: 600, now: clock.now) }
        }
        let running = Task { try await client.run() }
        #expect(await self.clock.wait { self.plane.state.withLock { $0.first.count } == 1 })
        self.plane.send(try self.responses())
        #expect(await self.clock.wait { client.status.isConnected && self.clock.sleepers >= 2 })
        self.clock.advance(by: .seconds(310))
        #expect(await self.clock.advance(in: .milliseconds(100)) { client.credentials.svid.serial != old })
        #expect(await self.clock.wait { faults.present.count == 1 })
        running.cancel()
        try await running.value
    }

    @Test func `a new trust bundle is taken unless it would cut the node off`() async throws {
        let client = try await self.client()
        let running = Task { try await client.run() }
        #expect(await self.stream(1))
        let other = try TestAuthority(now: self.clock.now).bundle.pem
        let both = self.authority.bundle.pem + other
        for (count, bundle, isTaken) in [(1, other, false), (2, both, true), (3, ["nonsense"], false)] {
            self.plane.send(try self.responses(bundle: bundle))
            #expect(await self.clock.advance { self.seen.states.withLock { $0.count } >= count })
            #expect((client.credentials.bundle.pem == bundle) == isTaken)
        }
        #expect(client.credentials.bundle.pem == both)
        let kept = try await NodeCredentialStore(directory: self.directory.path).load(node: "n1", now: self.clock.now)
        #expect(kept?.bundle.roots.count == 2)
        running.cancel()
        try await running.value
    }
}

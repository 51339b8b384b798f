// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import Testing

@testable import MeshProxy

/// How connections begin, and all the ways in which they do not.
@Suite(.serialized) struct SetupTests {
    /// Dials, and expects a reset.
    private func expectReset(_ mesh: TestMesh, _ address: SocketAddress) async throws {
        let wire = try mesh.dial(address)
        #expect(try await onThread { wire.endingError() } == ECONNRESET)
    }

    @Test(arguments: Way.allCases) func `a policy denies, the client is reset and the reason is told`(
        way: Way
    ) async throws {
        let mesh = try TestMesh()
        try mesh.update(destination: way.destination, policies: [TestMesh.denyAll()])
        try await self.expectReset(mesh, try App.echo().address)
        let record = try await mesh.a.closed(1)[0]
        #expect(record.reason == .policyDenied)
        if way == .tunnel {
            #expect(record.detail?.contains("403") == true && record.detail?.contains("prod/deny-all") == true)
            let other = try await mesh.b.closed(1)[0]
            #expect(other.reason == .policyDenied && other.policy?.name == "deny-all")
        } else {
            #expect(record.policy?.name == "deny-all")
        }
        #expect(mesh.a.opened.isEmpty && mesh.b.opened.isEmpty)
    }

    @Test(arguments: Way.allCases) func `an application that refuses makes the client see a reset`(
        way: Way
    ) async throws {
        let mesh = try TestMesh()
        try mesh.update(destination: way.destination)
        let dead = try ClosedPort()
        try await self.expectReset(mesh, dead.address)
        #expect(try await mesh.a.closed(1)[0].reason == .connectRefused)
        _ = consume dead
    }

    @Test func `an unknown destination is refused, or passed through when configured`() async throws {
        let app = try App.echo()
        let strict = try TestMesh()
        try strict.update(destination: TestMesh.client)
        try await self.expectReset(strict, app.address)
        #expect(try await strict.a.closed(1)[0].reason == .unknownDestination)

        let open = try TestMesh { $0.unknownDestination = .passthrough }
        try open.update(destination: TestMesh.client)
        let wire = try open.dial(app.address)
        try wire.write("hello")
        #expect(try await onThread { try wire.read(exactly: 5) } == Array("hello".utf8))
        #expect(open.a.opened.first?.wire == .plaintext)
    }

    @Test func `without an original destination nothing is guessed`() async throws {
        let mesh = try TestMesh()
        try mesh.update()
        mesh.a.setDestination(nil)
        let wire = try Wire(to: try #require(mesh.a.listeners[TestMesh.client]).outbound)
        #expect(try await onThread { wire.endingError() } == ECONNRESET)
        #expect(try await mesh.a.closed(1)[0].reason == .originalDestinationMissing)
    }

    @Test func `a stray process does not get the identity of the namespace it is in`() async throws {
        let mesh = try TestMesh()
        try mesh.update()
        mesh.a.stray(to: 99)
        try await self.expectReset(mesh, try App.echo().address)
        #expect(try await mesh.a.closed(1)[0].reason == .originalDestinationMissing)
    }

    @Test func `an application never sees an address of its own as its client's`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        try mesh.update(destination: TestMesh.neighbour)
        mesh.a.refuseMarks()
        try await self.expectReset(mesh, app.address)
        #expect(try await mesh.a.closed(1)[0].reason == .resourceExhausted)
    }

    @Test func `the mesh's own ports are refused`() async throws {
        let mesh = try TestMesh()
        try mesh.update()
        try await self.expectReset(mesh, SocketAddress(ip: TestMesh.loopback, port: 15008))
        #expect(try await mesh.a.closed(1)[0].reason == .selfCall)
    }

    @Test func `inbound plaintext reaches the application after its policies`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        try mesh.update()
        mesh.b.setDestination(app.address)
        let listener = try #require(mesh.b.listeners[TestMesh.server]).inbound
        let wire = try Wire(to: listener)
        try wire.write("hello")
        #expect(try await onThread { try wire.read(exactly: 5) } == Array("hello".utf8))
        let opened = try #require(mesh.b.opened.first)
        #expect(opened.wire == .plaintext && opened.direction == .inbound && opened.sourceIdentity == nil)
        #expect(mesh.b.marked == [opened.sourceAddress])

        // Strict: only proved identities. It holds for established connections too.
        var strict = AuthorizationPolicy.Match()
        strict.notPrincipals = [.presence]
        try mesh.update(policies: [
            AuthorizationPolicy(
                id: NamespacedName(namespace: "prod", name: "strict"), scope: .namespace, action: .deny,
                rules: [.init(clauses: [.init(matches: [strict])])])
        ])
        #expect(try await onThread { wire.endingError() } == ECONNRESET)
        let again = try Wire(to: listener)
        #expect(try await onThread { again.endingError() } == ECONNRESET)
        #expect(try await mesh.b.closed(2).map(\.reason) == [.policyDenied, .policyDenied])
    }

    @Test(arguments: Way.allCases) func `a policy change ends what it denies and spares the rest`(
        way: Way
    ) async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        try mesh.update(destination: way.destination)
        let wire = try mesh.dial(app.address)
        try wire.write("hello")
        _ = try await onThread { try wire.read(exactly: 5) }
        var other = TestMesh.denyAll()
        var match = AuthorizationPolicy.Match()
        match.principals = [.exact("mesh.test/ns/prod/sa/somebody")]
        other.rules = [.init(clauses: [.init(matches: [match])])]
        try mesh.update(destination: way.destination, policies: [other])
        try wire.write("again")
        #expect(try await onThread { try wire.read(exactly: 5) } == Array("again".utf8))
        try mesh.update(destination: way.destination, policies: [TestMesh.denyAll()])
        #expect(try await onThread { wire.endingError() } == ECONNRESET)
        let node = way == .tunnel ? mesh.b : mesh.a
        #expect(try await node.closed(1)[0].reason == .policyDenied)
    }

    @Test func `another endpoint of the service is tried when one cannot be reached`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        let virtual = try #require(IPAddress("240.240.0.1"))
        let dead = try ClosedPort()
        try mesh.update { workloads, services, nodes in
            let service = NamespacedName(namespace: "prod", name: "api")
            let ports = [PortMapping(servicePort: 80, targetPort: app.address.port)]
            services = [Service(id: service, addresses: [virtual], ports: ports)]
            var lost = TestMesh.workload(
                NamespacedName(namespace: "prod", name: "lost"), on: "dead", at: IPAddress("127.0.0.77"))
            lost.services = [service: ports]
            // Nearly always drawn first.
            lost.capacity = 1000
            workloads[1].services = [service: ports]
            workloads.append(lost)
            nodes.append(Node(name: "dead", addresses: [dead.address.ip], tunnelPort: dead.address.port))
        }
        for _ in 0..<5 {
            let wire = try mesh.dial(SocketAddress(ip: virtual, port: 80))
            try wire.write("hello")
            #expect(try await onThread { try wire.read(exactly: 5) } == Array("hello".utf8))
        }
        #expect(mesh.a.opened.count == 5)
        #expect(mesh.a.opened.allSatisfy { $0.destinationWorkload == TestMesh.server && $0.service?.name == "api" })
        _ = consume dead
    }

    @Test func `a connection waits for its certificate, then goes on`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        try mesh.update(identities: [])
        let wire = try mesh.dial(app.address)
        try wire.write("hello")
        try await Task.sleep(for: .milliseconds(50))
        #expect(mesh.a.opened.isEmpty)
        // First only the client's: now the server's node waits.
        try mesh.update(identities: [TestMesh.client])
        try await Task.sleep(for: .milliseconds(50))
        try mesh.update()
        #expect(try await onThread { try wire.read(exactly: 5) } == Array("hello".utf8))
    }

    @Test func `a certificate that never comes is told`() async throws {
        let mesh = try TestMesh { $0.identityTimeout = .milliseconds(100) }
        try mesh.update(identities: [TestMesh.server])
        try await self.expectReset(mesh, try App.echo().address)
        #expect(try await mesh.a.closed(1)[0].reason == .identityUnavailable)
    }

    @Test func `a server with another identity than expected is never spoken to`() async throws {
        let mesh = try TestMesh()
        try mesh.update { workloads, _, _ in workloads[1].serviceAccount = "somebody-else" }
        try await self.expectReset(mesh, try App.echo().address)
        let record = try await mesh.a.closed(1)[0]
        #expect(record.reason == .identityMismatch && record.detail?.contains("somebody-else") == true)
        #expect(mesh.b.opened.isEmpty)
    }

    @Test func `a peer that talks nonsense gets nowhere`() async throws {
        let mesh = try TestMesh()
        try mesh.update()
        let tunnel = try #require(mesh.b.proxy.tunnelEndpoint)
        for text in ["GET / HTTP/1.1\r\n\r\n", String(repeating: "x", count: 100_000)] {
            let wire = try Wire(to: tunnel)
            try? wire.write(text)
            _ = try await onThread { wire.endingError() }
        }
        let wire = try Wire(to: tunnel)
        wire.finish()
        _ = try await onThread { wire.endingError() }
        #expect(try await mesh.b.closed(3).allSatisfy { $0.reason == .tlsFailed })
    }

    @Test func `a silent peer is cut off`() async throws {
        let mesh = try TestMesh { $0.handshakeTimeout = .milliseconds(100) }
        try mesh.update()
        let wire = try Wire(to: try #require(mesh.b.proxy.tunnelEndpoint))
        #expect(try await onThread { wire.endingError() } == ECONNRESET)
        #expect(try await mesh.b.closed(1)[0].reason == .tlsFailed)
    }

    @Test func `the number of connections is bounded, and what is over is counted`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh { $0.maxConnections = 1 }
        try mesh.update(destination: TestMesh.neighbour)
        let first = try mesh.dial(app.address)
        try first.write("x")
        _ = try await onThread { try first.read(exactly: 1) }
        try await self.expectReset(mesh, app.address)
        #expect(try await mesh.a.closed(1)[0].reason == .resourceExhausted)
        #expect(await mesh.a.proxy.statistics().refusedByLimit == 1)
        first.finish()
        _ = try await mesh.a.closed(2)
        let third = try mesh.dial(app.address)
        try third.write("x")
        #expect(try await onThread { try third.read(exactly: 1) }.count == 1)
    }

    @Test func `a workload that leaves takes its connections along`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        try mesh.update()
        let wire = try mesh.dial(app.address)
        try wire.write("x")
        _ = try await onThread { try wire.read(exactly: 1) }
        mesh.b.proxy.detach(TestMesh.server)
        #expect(try await mesh.b.closed(1)[0].reason == .workloadGone)
        #expect(try await onThread { wire.endingError() } == ECONNRESET)
        // Its name is not known there any more.
        try await self.expectReset(mesh, app.address)
        #expect(try await mesh.a.closed(2)[1].detail?.contains("unrecognized_name") == true)
        // It may come back.
        #expect(throws: Never.self) { try mesh.b.proxy.attach(TestMesh.server, key: 9, namespace: nil) }
    }

    @Test func `a workload is known from the moment attaching it has returned`() async throws {
        let app = try App.echo()
        // A tunnel that leaving cuts short must not be the next connection's.
        let mesh = try TestMesh { $0.tunnelPool.isReused = false }
        try mesh.update()
        for _ in 0..<100 {
            mesh.b.proxy.detach(TestMesh.server)
            try mesh.b.proxy.attach(TestMesh.server, key: 9, namespace: nil)
            let wire = try mesh.dial(app.address)
            try wire.write("x")
            #expect(try await onThread { try wire.read(exactly: 1) } == [120])
        }
    }

    @Test func `draining waits for connections and accepts no new ones`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        try mesh.update(destination: TestMesh.neighbour)
        let wire = try mesh.dial(app.address)
        try wire.write("x")
        _ = try await onThread { try wire.read(exactly: 1) }
        async let drained: Void = mesh.a.proxy.drain(deadline: .seconds(10))
        try await Task.sleep(for: .milliseconds(50))
        try wire.write("y")
        #expect(try await onThread { try wire.read(exactly: 1) } == [121])
        wire.finish()
        _ = try await onThread { try wire.readToEnd() }
        await drained
        #expect(try await mesh.a.closed(1)[0].reason == .completed)
    }
}

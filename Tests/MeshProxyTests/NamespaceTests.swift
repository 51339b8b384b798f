// SPDX-License-Identifier: Apache-2.0
import Glibc
import Logging
import MeshLinux
import MeshModel
import Synchronization
import Testing

@testable import MeshProxy

/// Workloads that share a network namespace and its listeners. In ``TestMesh`` all of a node do.
@Suite struct NamespaceTests {
    private func talk(_ wire: Wire) async throws {
        try wire.write("x")
        #expect(try await onThread { try wire.read(exactly: 1) } == [120])
    }

    @Test func `workloads of one namespace share its listeners, and the kernel tells whose a connection is`()
        async throws
    {
        let app = try App.echo()
        let mesh = try TestMesh()
        try mesh.update(identities: [TestMesh.client, TestMesh.neighbour, TestMesh.server])
        let listeners = TestMesh.client
        #expect(mesh.a.listeners[listeners]?.outbound == mesh.a.listeners[TestMesh.neighbour]?.outbound)
        #expect(
            mesh.a.listeners[listeners]?.inboundDescriptors
                == mesh.a.listeners[TestMesh.neighbour]?.inboundDescriptors)
        for (key, id) in [(UInt32(1), TestMesh.client), (2, TestMesh.neighbour)] {
            mesh.a.stray(to: key)
            let wire = try mesh.dial(app.address)
            try await self.talk(wire)
            wire.finish()
            _ = try await mesh.a.closed(Int(key))
            #expect(mesh.a.opened.last?.source == id)
            #expect(mesh.b.opened.last?.sourceIdentity == TestMesh.workload(id, on: "a").identity)
        }
    }

    @Test func `listeners are closed with the last workload of their namespace`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        try mesh.update()
        let outbound = try #require(mesh.a.listeners[TestMesh.client]).outbound
        mesh.a.proxy.detach(TestMesh.neighbour)
        try await self.talk(try mesh.dial(app.address))
        mesh.a.proxy.detach(TestMesh.client)
        // The loop answers when it has closed them.
        _ = await mesh.a.proxy.connections()
        let wire = try Wire(to: outbound)
        #expect(Linux.socketError(wire.fd) == ECONNREFUSED)
    }

    @Test func `an inbound connection is the workload's that has the port`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        try mesh.update(destination: TestMesh.neighbour)
        mesh.a.setDestination(app.address)
        let inbound = try #require(mesh.a.listeners[TestMesh.client]).inbound
        // Two live here, and nobody says whose port it is.
        let lost = try Wire(to: inbound)
        #expect(try await onThread { lost.endingError() } == ECONNRESET)
        #expect(try await mesh.a.closed(1)[0].reason == .originalDestinationMissing)
        mesh.a.steer(to: 2)
        let wire = try Wire(to: inbound)
        try await self.talk(wire)
        let record = try #require(mesh.a.opened.last)
        #expect(record.destinationWorkload == TestMesh.neighbour && record.sourceIdentity == nil)
        #expect(record.wire == .plaintext && record.direction == .inbound)
    }

    @Test func `a client of the same namespace is judged by its own identity`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        let identity = try #require(TestMesh.workload(TestMesh.client, on: "a").identity)
        var match = AuthorizationPolicy.Match()
        match.serviceAccounts = [NamespacedName(namespace: "prod", name: "client")]
        let only = AuthorizationPolicy(
            id: NamespacedName(namespace: "prod", name: "only-client"), scope: .namespace, action: .allow,
            rules: [
                AuthorizationPolicy.Rule(clauses: [
                    AuthorizationPolicy.Clause(matches: [match])
                ])
            ])
        try mesh.update(destination: TestMesh.neighbour, policies: [only])
        mesh.a.setDestination(app.address)
        let inbound = try #require(mesh.a.listeners[TestMesh.client]).inbound
        mesh.a.steer(to: 2)
        let stranger = try Wire(to: inbound)
        #expect(try await onThread { stranger.endingError() } == ECONNRESET)
        #expect(try await mesh.a.closed(1)[0].reason == .policyDenied)
        mesh.a.steer(to: 2, from: 1)
        let wire = try Wire(to: inbound)
        try await self.talk(wire)
        let record = try #require(mesh.a.opened.last)
        #expect(record.source == TestMesh.client && record.sourceIdentity == identity && record.wire == .local)
        // It leaves: its connections go with it.
        mesh.a.proxy.detach(TestMesh.client)
        #expect(try await mesh.a.closed(2)[1].reason == .workloadGone)
    }

    @Test func `a workload that shares its address answers for its own ports only`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        let shared = WorkloadID(namespace: "prod", name: "shared")
        try mesh.b.proxy.attach(shared, key: 7, namespace: nil)
        // It turns out later.
        try mesh.b.proxy.attach(shared, key: 7, namespace: nil, isShared: true)
        #expect(throws: ProxyError.self) { try mesh.b.proxy.attach(shared, key: 8, namespace: nil) }
        let address = SocketAddress(ip: IPAddress(ipv4: 0x0a00_0009), port: app.address.port)
        try mesh.update(identities: [TestMesh.client, shared]) { workloads, _, _ in
            workloads.removeAll { $0.id == TestMesh.server }
            var host = TestMesh.workload(shared, on: "b", at: TestMesh.loopback)
            host.addresses.append(address.ip)
            host.isHostNetwork = true
            host.ports = [app.address.port]
            workloads.append(host)
        }
        mesh.b.listen([app.address.port: 7])
        let wire = try mesh.dial(app.address)
        try await self.talk(wire)
        wire.finish()
        _ = try await mesh.b.closed(1)
        // The client's node does not know yet that the port is the other workload's.
        mesh.b.listen([app.address.port: 1])
        let late = try mesh.dial(app.address)
        #expect(try await onThread { late.endingError() } == ECONNRESET)
        let record = try await mesh.b.closed(2)[1]
        #expect(record.reason == .connectRefused)
        #expect(record.detail?.contains("does not listen") == true, "\(record)")
    }

    @Test func `a port that is taken is named, with what to do`() throws {
        let taken = try ClosedPort()
        var configuration = ProxyConfiguration(loops: 1, tunnelListener: nil)
        configuration.outboundListener = SocketAddress(ip: TestMesh.loopback, port: 0)
        configuration.inboundListener = taken.address
        let proxy = Proxy(
            configuration: configuration, hooks: ProxyHooks(originalDestination: { _ in nil }),
            logger: Logger(label: "test"))
        try proxy.start()
        defer { proxy.stop() }
        let error = #expect(throws: ProxyError.self) {
            try proxy.attach(TestMesh.client, key: 1, namespace: nil)
        }
        #expect(error?.message.contains("port \(taken.address.port)") == true)
        #expect(error?.message.contains("another program") == true)
        // Nothing of it is left.
        #expect(proxy.state.withLock { $0.members.isEmpty && $0.namespaces.isEmpty })
    }
}

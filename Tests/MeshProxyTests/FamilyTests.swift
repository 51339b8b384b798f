// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import Testing

@testable import MeshProxy

/// IPv6, and services whose endpoints are of another family than the address that was dialled.
@Suite struct FamilyTests {
    private static let loopback6 = IPAddress(high: 0, low: 1)
    private static let service = NamespacedName(namespace: "prod", name: "api")
    private static let virtual4 = SocketAddress(ip: IPAddress(ipv4: 0xf0f0_0001), port: 80)
    private static let virtual6 = SocketAddress(ip: IPAddress(high: 0xfd6e_6d65_7368_0000, low: 1), port: 80)

    private static func mesh() throws -> TestMesh {
        try TestMesh {
            $0.tunnelListener = SocketAddress(ip: Self.loopback6, port: 0)
            $0.outboundListener6 = SocketAddress(ip: Self.loopback6, port: 0)
            $0.inboundListener = SocketAddress(ip: IPAddress(high: 0, low: 0), port: 0)
        }
    }

    /// A view in which the server, or the client's neighbour, is at both loopback addresses and backs a service.
    private func update(
        _ mesh: TestMesh, _ destination: WorkloadID = TestMesh.server, client: [String] = ["10.0.0.1", "fd00::1"],
        at addresses: [IPAddress] = [TestMesh.loopback, loopback6], port: UInt16
    ) throws {
        let client = try client.map { try #require(IPAddress($0)) }
        try mesh.update(destination: destination) { workloads, services, _ in
            for index in workloads.indices {
                if workloads[index].id == TestMesh.client { workloads[index].addresses = client }
                guard workloads[index].id == destination else { continue }
                workloads[index].addresses = addresses
                workloads[index].services = [Self.service: [PortMapping(servicePort: 80, targetPort: port)]]
            }
            services = [
                Service(
                    id: Self.service, addresses: [Self.virtual4.ip, Self.virtual6.ip],
                    ports: [PortMapping(servicePort: 80, targetPort: port)])
            ]
        }
    }

    private func talk(_ wire: Wire) async throws {
        try wire.write("x")
        #expect(try await onThread { try wire.read(exactly: 1) } == [120])
    }

    private func dial(_ mesh: TestMesh, _ address: SocketAddress, over family: IPFamily) throws -> Wire {
        mesh.a.setDestination(address)
        let listeners = try #require(mesh.a.listeners[TestMesh.client])
        #expect(listeners.hasIPv6)
        return try Wire(to: family == .ipv4 ? listeners.outbound : try #require(listeners.outbound6))
    }

    @Test(arguments: [TestMesh.server, TestMesh.neighbour]) func `IPv6 all the way`(
        destination: WorkloadID
    ) async throws {
        let app = try App.echo(at: .loopback(.ipv6, port: 0))
        let mesh = try Self.mesh()
        try self.update(mesh, destination, port: app.address.port)
        let isLocal = destination == TestMesh.neighbour
        for address in [app.address, Self.virtual6] {
            let wire = try self.dial(mesh, address, over: .ipv6)
            try await self.talk(wire)
        }
        let record = try #require(mesh.a.opened.last)
        #expect(record.destination == Self.virtual6 && record.sourceAddress.ip.description == "fd00::1")
        #expect(record.upstream?.ip == Self.loopback6)
        let marked = (isLocal ? mesh.a : mesh.b).marked
        #expect(marked.count == 2 && marked.allSatisfy { $0.ip.description == "fd00::1" })
        if !isLocal { #expect(mesh.b.opened.last?.sourceAddress == marked.last) }
    }

    /// The client's addresses, the server's, what is dialled, and what the application is shown.
    @Test(arguments: [
        (["10.0.0.1", "fd00::1"], IPFamily.ipv4, IPFamily.ipv6, "10.0.0.1"),
        (["10.0.0.1"], .ipv4, .ipv4, "10.0.0.1"),
        (["fd00::1"], .ipv4, .ipv6, "192.0.0.8"),
        (["10.0.0.1", "fd00::1"], .ipv6, .ipv4, "fd00::1"),
        (["10.0.0.1"], .ipv6, .ipv4, "10.0.0.1"),
    ])
    func `a service's address of one family leads to an endpoint of the other`(
        client: [String], server: IPFamily, dialled: IPFamily, shown: String
    ) async throws {
        let app = try App.echo(at: .loopback(server == .ipv4 ? .ipv4 : .ipv6, port: 0))
        let mesh = try Self.mesh()
        for (destination, node) in [(TestMesh.server, mesh.b), (TestMesh.neighbour, mesh.a)] {
            try self.update(mesh, destination, client: client, at: [app.address.ip], port: app.address.port)
            let wire = try self.dial(mesh, dialled == .ipv4 ? Self.virtual4 : Self.virtual6, over: dialled)
            try await self.talk(wire)
            #expect(node.marked.last?.ip.description == shown)
        }
    }

    @Test func `a service leads to the family that its application listens on`() async throws {
        let app = try App.echo()
        let mesh = try Self.mesh()
        for (destination, node) in [(TestMesh.server, mesh.b), (TestMesh.neighbour, mesh.a)] {
            // The workload has both addresses, and the application listens on IPv4 only.
            try self.update(mesh, destination, port: app.address.port)
            for _ in 0..<3 {
                let wire = try self.dial(mesh, Self.virtual6, over: .ipv6)
                try await self.talk(wire)
                #expect(mesh.a.opened.last?.destination == Self.virtual6)
                #expect(node.marked.last?.ip.description == "10.0.0.1")
            }
        }
        // Its endpoint is in good health, and only the first connection had to find out.
        #expect(mesh.a.proxy.ejections.isEmpty)
        #expect(mesh.a.marked.filter { !$0.ip.isIPv4 }.count == 1)
    }

    @Test func `an address of the other family is refused as plain TCP would`() async throws {
        let app = try App.echo()
        let mesh = try Self.mesh()
        try self.update(mesh, port: app.address.port)
        // The workload has the address, and the application listens on IPv4 only.
        let wire = try self.dial(mesh, SocketAddress(ip: Self.loopback6, port: app.address.port), over: .ipv6)
        #expect(try await onThread { wire.endingError() } == ECONNRESET)
        #expect(try await mesh.a.closed(1)[0].reason == .connectRefused)
    }

    @Test(arguments: [IPFamily.ipv4, .ipv6]) func `the inbound listener takes both families`(
        family: IPFamily
    ) async throws {
        let app = try App.echo(at: .loopback(family == .ipv4 ? .ipv4 : .ipv6, port: 0))
        let mesh = try Self.mesh()
        try self.update(mesh, port: app.address.port)
        mesh.b.setDestination(app.address)
        let inbound = try #require(mesh.b.listeners[TestMesh.server]).inbound
        #expect(inbound.ip == IPAddress(high: 0, low: 0))
        let wire = try Wire(to: SocketAddress(ip: app.address.ip, port: inbound.port))
        try await self.talk(wire)
        let record = try #require(mesh.b.opened.last)
        #expect(record.sourceAddress.ip == app.address.ip && record.destinationWorkload == TestMesh.server)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import Testing

@testable import MeshProxy

/// Traffic policy, through real sockets.
@Suite(.serialized) struct TrafficTests {
    private static let service = NamespacedName(namespace: "prod", name: "api")
    private static let virtual = SocketAddress(ip: IPAddress(ipv4: 0xf0f0_0001), port: 80)
    private static let second = WorkloadID(namespace: "prod", name: "second")

    /// One endpoint of the service.
    private struct Endpoint {
        var id: WorkloadID
        var address: SocketAddress
        /// nil: outside the mesh, plain TCP.
        var node: String?
        var capacity: UInt32 = 1
    }

    private func endpoint(_ name: String, _ address: SocketAddress, capacity: UInt32 = 1) -> Endpoint {
        Endpoint(id: WorkloadID(namespace: "prod", name: name), address: address, node: nil, capacity: capacity)
    }

    private func update(
        _ mesh: TestMesh, _ endpoints: [Endpoint], _ policy: DestinationPolicy? = nil,
        limits: [WorkloadID: WorkloadLimits] = [:], isCertified: Bool = true, more: [Node] = []
    ) throws {
        try mesh.update(
            identities: isCertified ? [TestMesh.client, TestMesh.server, Self.second] : []
        ) { workloads, services, nodes in
            nodes += more
            services = [
                Service(
                    id: Self.service, addresses: [Self.virtual.ip],
                    ports: [PortMapping(servicePort: 80, targetPort: 80)], policy: policy)
            ]
            for endpoint in endpoints {
                workloads.removeAll { $0.id == endpoint.id }
                var workload = TestMesh.workload(
                    endpoint.id, on: endpoint.node ?? "", at: endpoint.address.ip)
                workload.tunnel = endpoint.node == nil ? .none : .tunnel
                workload.capacity = endpoint.capacity
                workload.services = [
                    Self.service: [PortMapping(servicePort: 80, targetPort: endpoint.address.port)]
                ]
                workloads.append(workload)
            }
            for index in workloads.indices { workloads[index].limits = limits[workloads[index].id] }
        }
    }

    /// A connection to the service that got an answer.
    private func ask(_ mesh: TestMesh, _ address: SocketAddress = TrafficTests.virtual) async throws -> Wire {
        let wire = try mesh.dial(address)
        try wire.write("hello")
        do {
            #expect(try await onThread { try wire.read(exactly: 5) } == Array("hello".utf8))
        } catch {
            let records = (try? await mesh.a.closed(1)) ?? []
            Issue.record("\(error): \(records.suffix(2).map { "\($0.reason as Any) \($0.detail ?? "")" })")
            throw error
        }
        return wire
    }

    /// A connection to the service that is reset; what the client's node says of it.
    private func refused(
        _ mesh: TestMesh, _ address: SocketAddress = TrafficTests.virtual, closed: Int = 1
    ) async throws -> ConnectionRecord {
        let wire = try mesh.dial(address)
        #expect(try await onThread { wire.endingError() } == ECONNRESET)
        return try #require(try await mesh.a.closed(closed).last)
    }

    private static let strict = DestinationPolicy(
        outlierDetection: OutlierDetection(
            consecutiveFailures: 2, baseEjectionTime: .seconds(1000), maxEjectionTime: .seconds(1000),
            maxEjectionPercent: 50))

    // MARK: - Endpoints

    @Test(arguments: [false, true]) func `an endpoint that refuses is set aside, and nobody waits for it any more`(
        isTunnel: Bool
    ) async throws {
        let (app, dead) = (try App.echo(), try ClosedPort())
        let mesh = try TestMesh()
        try mesh.b.proxy.attach(Self.second, key: 9, namespace: nil)
        let node = isTunnel ? "b" : nil
        let endpoints = [
            Endpoint(id: TestMesh.server, address: app.address, node: node),
            Endpoint(id: Self.second, address: dead.address, node: node),
        ]
        try self.update(mesh, endpoints, Self.strict)
        var tries = 0
        while mesh.a.proxy.ejections.isEmpty, tries < 200 {
            tries += 1
            _ = try await self.ask(mesh)
        }
        let ejection = try #require(mesh.a.proxy.ejections.first)
        #expect(ejection.workload == Self.second && ejection.service == Self.service && ejection.times == 1)
        let retries = mesh.a.proxy.trafficStatistics.retries
        #expect(retries == 2)
        for _ in 0..<30 { _ = try await self.ask(mesh) }
        #expect(mesh.a.proxy.trafficStatistics.retries == retries)
        #expect(mesh.a.proxy.serviceUsage[Self.service]?.ejections == 1)
        // It is remembered in the next view, and forgotten with the endpoint.
        try self.update(mesh, endpoints, Self.strict)
        for _ in 0..<10 { _ = try await self.ask(mesh) }
        #expect(mesh.a.proxy.trafficStatistics.retries == retries && mesh.a.proxy.ejections.count == 1)
        try self.update(mesh, [endpoints[0]], Self.strict)
        #expect(mesh.a.proxy.ejections.isEmpty)
        _ = consume dead
    }

    @Test func `an endpoint that resets every connection before it answers is set aside`() async throws {
        let app = try App.echo()
        let resetting = try App { wire in
            _ = try wire.read()
            wire.reset()
        }
        let mesh = try TestMesh()
        try self.update(
            mesh, [self.endpoint("well", app.address), self.endpoint("ill", resetting.address)], Self.strict)
        var tries = 0
        while mesh.a.proxy.ejections.isEmpty, tries < 200 {
            tries += 1
            let wire = try mesh.dial(Self.virtual)
            try wire.write("hello")
            _ = try? await onThread { try wire.read(exactly: 5) }
            wire.finish()
            _ = try await mesh.a.closed(tries)
        }
        #expect(mesh.a.proxy.ejections.map(\.workload.name) == ["ill"])
        for _ in 0..<20 { _ = try await self.ask(mesh) }
    }

    @Test func `the only endpoint is never set aside`() async throws {
        let dead = try ClosedPort()
        let mesh = try TestMesh()
        try self.update(mesh, [self.endpoint("only", dead.address)], Self.strict)
        for count in 1...10 {
            #expect(try await self.refused(mesh, closed: count).reason == .connectRefused)
        }
        #expect(mesh.a.proxy.ejections.isEmpty)
        _ = consume dead
    }

    @Test func `a slow endpoint is avoided`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        try mesh.b.proxy.attach(Self.second, key: 9, namespace: nil)
        let tunnel = try #require(mesh.b.proxy.tunnelEndpoint)
        // The way to that node takes long.
        let delay = try App { wire in
            let onward = try Wire(to: tunnel)
            let back = try OSThread(name: "back") {
                while let bytes = try? onward.read(), !bytes.isEmpty {
                    usleep(50_000)
                    try? wire.write(bytes)
                }
                wire.finish()
            }
            while let bytes = try? wire.read(), !bytes.isEmpty { try? onward.write(bytes) }
            onward.finish()
            back.join()
        }
        try self.update(
            mesh,
            [
                Endpoint(id: TestMesh.server, address: app.address, node: "b"),
                Endpoint(id: Self.second, address: app.address, node: "slow"),
            ], more: [Node(name: "slow", addresses: [delay.address.ip], tunnelPort: delay.address.port)])
        for _ in 0..<40 { _ = try await self.ask(mesh) }
        let slow = mesh.a.opened.filter { $0.destinationWorkload == Self.second }.count
        #expect(mesh.a.opened.count == 40 && slow < 10)
    }

    @Test func `retries have a budget, and it is told when that is used up`() async throws {
        let (app, dead) = (try App.echo(), try ClosedPort())
        let mesh = try TestMesh {
            $0.retryPercent = 0
            $0.retriesPerSecond = 0
        }
        try self.update(
            mesh,
            [self.endpoint("well", app.address), self.endpoint("dead", dead.address, capacity: 1_000_000)],
            DestinationPolicy(outlierDetection: OutlierDetection(consecutiveFailures: 0)))
        let record = try await self.refused(mesh)
        #expect(record.reason == .connectRefused)
        #expect(record.detail?.contains("no other endpoint was tried") == true)
        #expect(mesh.a.proxy.trafficStatistics.retriesDenied == 1)
        _ = consume dead
    }

    // MARK: - Limits of a destination

    @Test func `one connection more than a service's limit is refused`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh(loops: 2)
        try self.update(mesh, [self.endpoint("one", app.address)], DestinationPolicy(maxConnections: 2))
        let (first, second) = (try await self.ask(mesh), try await self.ask(mesh))
        #expect(mesh.a.proxy.serviceUsage[Self.service]?.open == 2)
        let record = try await self.refused(mesh)
        #expect(record.reason == .limitExceeded)
        #expect(record.detail == "service prod/api: 2 connections of this node are open, its maxConnections")
        #expect(mesh.a.proxy.trafficStatistics.refused[.destinationConnections] == 1)
        first.finish()
        _ = try await onThread { first.endingError() }
        _ = try await mesh.a.closed(2)
        _ = try await self.ask(mesh)
        _ = consume second
    }

    @Test func `connections that are being made have a limit of their own`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        let endpoints = [Endpoint(id: TestMesh.server, address: app.address, node: "b")]
        // Without certificates they wait.
        try self.update(mesh, endpoints, DestinationPolicy(maxPending: 1), isCertified: false)
        let waiting = try mesh.dial(Self.virtual)
        try waiting.write("hello")
        let record = try await self.refused(mesh)
        #expect(record.reason == .limitExceeded && record.detail?.contains("maxPending") == true)
        try self.update(mesh, endpoints, DestinationPolicy(maxPending: 1))
        #expect(try await onThread { try waiting.read(exactly: 5) } == Array("hello".utf8))
        _ = try await self.ask(mesh)
        #expect(mesh.a.proxy.serviceUsage[Self.service]?.pending == 0)
    }

    @Test func `new connections to a service are limited per second`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        try self.update(mesh, [self.endpoint("one", app.address)], DestinationPolicy(connectsPerSecond: 1))
        let wires = try (0..<20).map { _ in try mesh.dial(Self.virtual) }
        let record = try #require(try await mesh.a.closed(1).first)
        #expect(record.reason == .limitExceeded && record.detail?.contains("connectsPerSecond") == true)
        #expect((mesh.a.proxy.trafficStatistics.refused[.destinationRate] ?? 0) > 0)
        _ = consume wires
    }

    @Test func `a service has its own time for connecting`() async throws {
        // A queue of one that is full: the kernel drops what comes then.
        let listener = try Linux.tcpListener(at: .loopback(port: 0), backlog: 0)
        let address = SocketAddress(try Linux.localEndpoint(listener.raw))
        let fillers = try (0..<4).map { _ in
            let socket = try Linux.tcpSocket()
            _ = try Linux.connect(socket.raw, to: MeshLinux.Endpoint(address))
            return Wire(owning: socket.release())
        }
        let mesh = try TestMesh { $0.connectTimeout = .seconds(600) }
        try self.update(mesh, [self.endpoint("full", address)], DestinationPolicy(connectTimeout: .milliseconds(100)))
        #expect(try await self.refused(mesh).reason == .connectTimeout)
        _ = consume fillers
    }

    // MARK: - Limits of a workload

    @Test(arguments: Way.allCases) func `a workload's connections are limited in both directions`(
        way: Way
    ) async throws {
        let app = try App.echo()
        for limited in [TestMesh.client, way.destination] {
            let mesh = try TestMesh()
            try mesh.update(destination: way.destination) { workloads, _, _ in
                for index in workloads.indices where workloads[index].id == limited {
                    workloads[index].limits = WorkloadLimits(maxConnections: 1)
                }
            }
            let first = try await self.ask(mesh, app.address)
            let record = try await self.refused(mesh, app.address)
            #expect(record.reason == .limitExceeded)
            #expect(record.detail?.contains("workload \(limited): 1 connections are open") == true)
            first.finish()
            _ = try await onThread { first.endingError() }
            _ = try await mesh.a.closed(2)
            if way == .tunnel { _ = try await mesh.b.closed(limited == TestMesh.client ? 1 : 2) }
            _ = try await self.ask(mesh, app.address)
        }
    }

    @Test func `a workload's new connections are limited per second`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        try mesh.update(destination: TestMesh.neighbour) { workloads, _, _ in
            workloads[0].limits = WorkloadLimits(connectionsPerSecond: 1)
        }
        let wires = try (0..<20).map { _ in try mesh.dial(app.address) }
        let record = try #require(try await mesh.a.closed(1).first)
        #expect(record.reason == .limitExceeded && record.detail?.contains("connectionsPerSecond") == true)
        #expect((mesh.a.proxy.trafficStatistics.refused[.workloadRate] ?? 0) > 0)
        _ = consume wires
    }

    @Test(arguments: [TestMesh.client, TestMesh.server])
    func `a workload's handshakes are limited per second in both directions`(limited: WorkloadID) async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        try mesh.update { workloads, _, _ in
            for index in workloads.indices where workloads[index].id == limited {
                workloads[index].limits = WorkloadLimits(handshakesPerSecond: 1)
            }
        }
        let wires = try (0..<20).map { _ in try mesh.dial(app.address) }
        let node = limited == TestMesh.client ? mesh.a : mesh.b
        let record = try #require(try await node.closed(1).first)
        #expect(record.reason == .limitExceeded)
        #expect(
            record.detail == "workload \(limited): more than 1 TLS handshakes a second, its handshakesPerSecond")
        #expect((node.proxy.trafficStatistics.refused[.workloadHandshakes] ?? 0) > 0)
        _ = consume wires
    }

    @Test(arguments: Way.allCases, [true, false])
    func `a workload's bytes per second are kept, and every byte arrives`(way: Way, isUpward: Bool) async throws {
        let (rate, size) = (512 << 10, 1200 << 10)
        let app = try App { wire in
            if isUpward {
                let right = try wire.readPattern(size)
                try wire.write(right == size ? "y" : "n")
            } else {
                try wire.writePattern(size)
            }
            wire.finish()
        }
        let mesh = try TestMesh()
        try mesh.update(destination: way.destination) { workloads, _, _ in
            workloads[0].limits = WorkloadLimits(bytesPerSecond: UInt64(rate))
        }
        let wire = try mesh.dial(app.address)
        let began = ContinuousClock.now
        if isUpward {
            let answer = try await onThread {
                try wire.writePattern(size)
                wire.finish()
                return try wire.readToEnd()
            }
            #expect(answer == Array("y".utf8))
        } else {
            let right = try await onThread {
                let right = try wire.readPattern(size)
                wire.finish()
                return right
            }
            #expect(right == size)
            #expect(try await onThread { try wire.readToEnd() }.isEmpty)
        }
        // A second's worth goes at once; the rest, with less than a batch of slack, at the rate.
        let least = Double(size - rate - (128 << 10)) / Double(rate)
        #expect(ContinuousClock.now - began > .seconds(least))
        let record = try await mesh.a.closed(1)[0]
        #expect(record.reason == .completed)
        #expect((isUpward ? record.bytesSent : record.bytesReceived) == UInt64(size))
        #expect(mesh.a.proxy.trafficStatistics.pauses > 0)
        let statistics = await mesh.a.proxy.statistics()
        #expect(statistics.connections == 0 && statistics.buffersLent == 0 && statistics.pipesLent == 0)
    }

    @Test func `over its rate a workload's sender has to wait, and a limit can be lifted`() async throws {
        let app = try App { wire in
            _ = try wire.readToEnd()
            wire.finish()
        }
        let mesh = try TestMesh()
        let limit = { (bytes: UInt64?) in
            try mesh.update { workloads, _, _ in
                workloads[0].limits = bytes.map { WorkloadLimits(bytesPerSecond: $0) }
            }
        }
        try limit(20_000)
        let wire = try mesh.dial(app.address)
        let size = 64 << 20
        async let sent: Void = onThread {
            try wire.writePattern(size)
            wire.finish()
        }
        // Once it waits, a moment does not bring it far.
        for _ in 0..<1000 where mesh.a.proxy.trafficStatistics.pauses == 0 {
            try await Task.sleep(for: .milliseconds(10))
        }
        let began = ContinuousClock.now
        let before = try #require(await mesh.a.proxy.connections().first).bytesSent
        try await Task.sleep(for: .milliseconds(300))
        let after = try #require(await mesh.a.proxy.connections().first).bytesSent
        let elapsed = (ContinuousClock.now - began) / .seconds(1)
        #expect(after < 64 << 20 && Double(after - before) < 20_000 * elapsed + 50_000)
        try limit(nil)
        try await sent
        #expect(try await mesh.a.closed(1)[0].bytesSent == UInt64(size))
    }
}

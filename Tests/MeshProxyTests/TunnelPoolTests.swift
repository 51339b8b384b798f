// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshModel
import Testing

@testable import MeshProxy

@Suite struct TunnelPoolTests {
    /// One connection from begin to end.
    private func talk(_ mesh: TestMesh, _ address: SocketAddress, _ text: String = "hello") async throws {
        let wire = try mesh.dial(address)
        try wire.write(text)
        #expect(try await onThread { try wire.read(exactly: text.utf8.count) } == Array(text.utf8))
        wire.finish()
        _ = try await onThread { try wire.readToEnd() }
    }

    @Test func `one tunnel carries one connection after the other`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh { $0.tunnelPool.makesSpare = false }
        try mesh.update()
        for number in 0..<20 {
            try await self.talk(mesh, app.address, "connection \(number)")
            _ = try await mesh.a.closed(number + 1)
            _ = try await mesh.b.closed(number + 1)
        }
        let (a, b) = (await mesh.a.proxy.statistics(), await mesh.b.proxy.statistics())
        #expect(a.handshakesFull == 1 && a.tunnelsReused == 19 && b.handshakesFull == 1)
        #expect(a.idleTunnels == 1 && b.idleTunnels == 1 && a.connections == 0 && b.connections == 0)
        for records in [try await mesh.a.closed(20), try await mesh.b.closed(20)] {
            #expect(records.count == 20 && Set(records.map(\.id)).count == 20)
            #expect(records.allSatisfy { $0.reason == .completed && $0.bytesSent == $0.bytesReceived })
            #expect(records.allSatisfy { $0.sourceIdentity?.description.hasSuffix("/sa/client") == true })
        }
        #expect(Set(try await mesh.b.closed(20).map(\.trace)).count == 20)
        #expect(await mesh.a.proxy.connections().isEmpty)
        #expect(await mesh.b.proxy.connections().isEmpty)
    }

    @Test func `each connection of a tunnel is judged by the policies of its time`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh { $0.tunnelPool.makesSpare = false }
        let identities = [
            TestMesh.client: try mesh.identity(TestMesh.client), TestMesh.server: try mesh.identity(TestMesh.server),
        ]
        try mesh.update(known: identities)
        try await self.talk(mesh, app.address)
        _ = try await mesh.b.closed(1)
        try mesh.update(known: identities, policies: [TestMesh.denyAll()])
        let wire = try mesh.dial(app.address)
        #expect(try await onThread { wire.endingError() } == ECONNRESET)
        #expect(try await mesh.b.closed(2)[1].reason == .policyDenied)
        #expect(try await mesh.a.closed(2)[1].reason == .policyDenied)
        #expect(await mesh.a.proxy.statistics().tunnelsReused == 1)
    }

    @Test func `half-close works on a tunnel that is used again`() async throws {
        let app = try App { wire in
            let bytes = try wire.readToEnd()
            try wire.write("\(bytes.count)")
        }
        let mesh = try TestMesh()
        try mesh.update()
        for count in [1, 100_000, 3, 1_000_000, 0] {
            let wire = try mesh.dial(app.address)
            if count > 0 { try await onThread { try wire.write([UInt8](repeating: 7, count: count)) } }
            wire.finish()
            let answer = String(decoding: try await onThread { try wire.readToEnd() }, as: UTF8.self)
            #expect(answer == "\(count)")
        }
        #expect(try await mesh.a.closed(5).allSatisfy { $0.reason == .completed })
    }

    @Test func `a reset ends the tunnel with its connection`() async throws {
        let app = try App { wire in
            _ = try wire.read()
            wire.reset()
        }
        let mesh = try TestMesh { $0.tunnelPool.makesSpare = false }
        try mesh.update()
        for _ in 0..<3 {
            let wire = try mesh.dial(app.address)
            try wire.write("x")
            #expect(try await onThread { wire.endingError() } == ECONNRESET)
        }
        _ = try await mesh.a.closed(3)
        let statistics = await mesh.a.proxy.statistics()
        #expect(statistics.idleTunnels == 0 && statistics.tunnelsReused == 0)
        #expect(statistics.handshakesFull == 1 && statistics.handshakesResumed == 2)
    }

    @Test func `a tunnel that the peer has given up is replaced and nothing is lost`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh { $0.tunnelPool.makesSpare = false }
        try mesh.update()
        for round in 0..<30 {
            try await self.talk(mesh, app.address, "round \(round)")
            _ = try await mesh.b.closed(round + 1)
            // The next CONNECT meets it wherever it is.
            mesh.b.proxy.detach(TestMesh.server)
            try mesh.b.proxy.attach(TestMesh.server, key: 9, namespace: nil)
        }
        #expect(try await mesh.a.closed(30).allSatisfy { $0.reason == .completed })
    }

    @Test func `a new certificate is used at once`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh { $0.tunnelPool.makesSpare = false }
        for round in 1...3 {
            try mesh.update()
            try await self.talk(mesh, app.address)
            _ = try await mesh.a.closed(round)
        }
        let statistics = await mesh.a.proxy.statistics()
        #expect(statistics.handshakesFull == 3 && statistics.tunnelsReused == 0 && statistics.handshakesResumed == 0)
        #expect(statistics.idleTunnels == 1)
    }

    @Test func `tunnels are made in advance where connections stay`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        try mesh.update()
        var wires: [Wire] = []
        for number in 0..<6 {
            let wire = try mesh.dial(app.address)
            try wire.write("x")
            #expect(try await onThread { try wire.read(exactly: 1) }.count == 1)
            wires.append(wire)
            // From the second connection on one stands ready.
            if number > 0 {
                for _ in 0..<1000 where await mesh.a.proxy.statistics().idleTunnels == 0 {
                    try await Task.sleep(for: .milliseconds(10))
                }
            }
        }
        let statistics = await mesh.a.proxy.statistics()
        #expect(statistics.tunnelsPrepared == 5 && statistics.tunnelsReused == 4 && statistics.idleTunnels == 1)
        #expect(statistics.connections == 6)
        #expect(await mesh.b.proxy.connections().count == 6)
        for wire in wires { wire.finish() }
        #expect(try await mesh.a.closed(6).allSatisfy { $0.reason == .completed })
    }

    @Test func `tunnels without a connection end after their time`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh { $0.tunnelPool.idleTimeout = .milliseconds(200) }
        try mesh.update()
        try await self.talk(mesh, app.address)
        for node in [mesh.a, mesh.b] {
            for _ in 0..<1000 where await node.proxy.statistics().idleTunnels > 0 {
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(await node.proxy.statistics().idleTunnels == 0)
            #expect(try await node.closed(1).count == 1)
        }
    }

    @Test func `without reuse each connection makes its own tunnel`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh { $0.tunnelPool.isReused = false }
        try mesh.update()
        for round in 1...4 {
            try await self.talk(mesh, app.address)
            _ = try await mesh.a.closed(round)
        }
        let statistics = await mesh.a.proxy.statistics()
        #expect(statistics.handshakesFull == 1 && statistics.handshakesResumed == 3)
        #expect(statistics.idleTunnels == 0 && statistics.tunnelsReused == 0)
    }

    @Test func `the number of tunnels that wait is bounded`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh {
            $0.tunnelPool.makesSpare = false
            $0.tunnelPool.maxIdlePerDestination = 2
        }
        try mesh.update()
        let wires = try (0..<8).map { _ in try mesh.dial(app.address) }
        for wire in wires { try wire.write("x") }
        for wire in wires { #expect(try await onThread { try wire.read(exactly: 1) }.count == 1) }
        for wire in wires { wire.finish() }
        _ = try await mesh.a.closed(8)
        #expect(await mesh.a.proxy.statistics().idleTunnels == 2)
    }
}

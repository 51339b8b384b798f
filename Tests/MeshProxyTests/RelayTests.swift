// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import Testing

@testable import MeshProxy

/// Which way bytes go in a test.
enum Way: String, CaseIterable, CustomTestStringConvertible {
    /// Through a tunnel to another node.
    case tunnel
    /// To a workload of the same node.
    case local

    var destination: WorkloadID { self == .tunnel ? TestMesh.server : TestMesh.neighbour }
    var testDescription: String { self.rawValue }
}

@Suite(.serialized) struct RelayTests {
    private func mesh(
        _ way: Way, loops: Int = 1, _ configure: (inout ProxyConfiguration) -> Void = { _ in }
    ) throws -> TestMesh {
        let mesh = try TestMesh(loops: loops, configure)
        try mesh.update(destination: way.destination)
        return mesh
    }

    /// Sockets of tunnels without a connection, on both nodes.
    private func idleTunnels(_ mesh: TestMesh) async -> Int {
        await mesh.a.proxy.statistics().idleTunnels + mesh.b.proxy.statistics().idleTunnels
    }

    private func openDescriptors() -> Int {
        var count = 0
        for fd in CInt(0)..<2048 where fcntl(fd, F_GETFD) >= 0 { count += 1 }
        return count
    }

    @Test(arguments: Way.allCases) func `64 MiB each way at the same time arrive unchanged`(way: Way) async throws {
        let size = 64 << 20
        let app = try App { wire in
            let writer = try OSThread(name: "writer") {
                try? wire.writePattern(size)
                wire.finish()
            }
            _ = try wire.readPattern(size)
            writer.join()
        }
        let mesh = try self.mesh(way)
        let wire = try mesh.dial(app.address)
        async let sent: Void = onThread {
            try wire.writePattern(size)
            wire.finish()
        }
        let received = try await onThread { try wire.readPattern(size) }
        try await sent
        #expect(received == size)
        #expect(try wire.read().isEmpty)
        let record = try await mesh.a.closed(1)[0]
        #expect(record.reason == .completed)
        #expect(record.bytesSent == UInt64(size) && record.bytesReceived == UInt64(size))
        if way == .tunnel {
            let other = try await mesh.b.closed(1)[0]
            #expect(other.reason == .completed && other.bytesSent == UInt64(size))
            #expect(other.trace == record.trace && record.trace != nil)
            #expect(other.source == TestMesh.client && other.sourceIdentity == record.sourceIdentity)
            #expect(other.sourceAddress.ip == IPAddress("10.0.0.1"))
            #expect(mesh.b.marked == [other.sourceAddress])
        }
        let statistics = await mesh.a.proxy.statistics()
        #expect(statistics.connections == 0 && statistics.buffersLent == 0 && statistics.pipesLent == 0)
    }

    @Test(arguments: Way.allCases) func `half-close: the answer comes after the client's end`(way: Way) async throws {
        let app = try App { wire in
            let request = try wire.readToEnd()
            try wire.write("got \(request.count):")
            try wire.writePattern(5 << 20)
            wire.finish()
        }
        let mesh = try self.mesh(way)
        let wire = try mesh.dial(app.address)
        try wire.write("request")
        wire.finish()
        let answer = try await onThread { try (wire.read(exactly: 6), wire.readPattern(5 << 20), wire.read()) }
        #expect(String(decoding: answer.0, as: UTF8.self) == "got 7:")
        #expect(answer.1 == 5 << 20 && answer.2.isEmpty)
        #expect(try await mesh.a.closed(1)[0].reason == .completed)
    }

    @Test(arguments: Way.allCases) func `the server may speak first`(way: Way) async throws {
        let app = try App { wire in
            try wire.write("220 hello\r\n")
            if try wire.read() == Array("QUIT".utf8) { wire.finish() }
        }
        let mesh = try self.mesh(way)
        let wire = try mesh.dial(app.address)
        #expect(try await onThread { try wire.read(exactly: 11) } == Array("220 hello\r\n".utf8))
        try wire.write("QUIT")
        #expect(try await onThread { try wire.read() }.isEmpty)
        wire.finish()
        #expect(try await mesh.a.closed(1)[0].reason == .completed)
    }

    @Test(arguments: Way.allCases) func `a slow reader slows the writer, and memory stays bounded`(way: Way)
        async throws
    {
        let size = 24 << 20
        let app = try App { wire in
            let right = try wire.readPattern(size, pause: 2000)
            try wire.write("\(right)")
            wire.finish()
        }
        let mesh = try self.mesh(way)
        let wire = try mesh.dial(app.address)
        async let answer = onThread {
            try wire.writePattern(size)
            wire.finish()
            return try wire.readToEnd()
        }
        try await Task.sleep(for: .milliseconds(200))
        for node in [mesh.a, mesh.b] {
            let statistics = await node.proxy.statistics()
            #expect(statistics.buffersLent <= 4 && statistics.pipesLent <= 2)
        }
        #expect(String(decoding: try await answer, as: UTF8.self) == "\(size)")
    }

    @Test(arguments: Way.allCases) func `a reset passes through, either way`(way: Way) async throws {
        let app = try App { wire in
            let command = try wire.read()
            if command == Array("reset me".utf8) { wire.reset() } else { try wire.write("\(wire.endingError())") }
        }
        let mesh = try self.mesh(way)
        let first = try mesh.dial(app.address)
        try first.write("reset me")
        #expect(try await onThread { first.endingError() } == ECONNRESET)
        let second = try mesh.dial(app.address)
        try second.write("hello")
        try await mesh.a.waitUntilOpened(2)
        try await Task.sleep(for: .milliseconds(50))
        second.reset()
        let records = try await mesh.a.closed(2)
        #expect(records[0].reason == (way == .tunnel ? .tunnelReset : .serverReset))
        #expect(records[1].reason == .clientReset)
        if way == .tunnel {
            #expect(try await mesh.b.closed(2).map(\.reason) == [.serverReset, .tunnelReset])
        }
    }

    @Test(arguments: Way.allCases) func `an answer and then a reset is never an answer and then an end`(
        way: Way
    ) async throws {
        let app = try App { wire in
            _ = try wire.read()
            try wire.write([UInt8](repeating: 7, count: 1000))
            wire.reset()
        }
        let mesh = try self.mesh(way)
        for _ in 0..<40 {
            let wire = try mesh.dial(app.address)
            async let isSent = onThread { (try? wire.write([UInt8](repeating: 1, count: 4 << 20))) != nil }
            let code = try await onThread { wire.endingError() }
            // The kernel tells a socket's error once, to whichever call comes first.
            let isUntold = try await isSent
            #expect(code != 0 || !isUntold)
        }
    }

    @Test(arguments: Way.allCases) func `many small connections leave nothing behind`(way: Way) async throws {
        let app = try App.echo()
        let mesh = try self.mesh(way, loops: 2)
        // Warm: pipes, blocks and lazily made things are there.
        for _ in 0..<4 {
            let wire = try mesh.dial(app.address)
            try wire.write("x")
            _ = try await onThread { try wire.read(exactly: 1) }
            wire.finish()
            _ = try await onThread { try wire.readToEnd() }
        }
        _ = try await mesh.a.closed(4)
        let before = self.openDescriptors() - (await self.idleTunnels(mesh))
        let count = 150
        try await onThread {
            for _ in 0..<count / 10 {
                let wires = try (0..<10).map { _ in try mesh.dial(app.address) }
                for (index, wire) in wires.enumerated() { try wire.write("ping \(index)") }
                for (index, wire) in wires.enumerated() {
                    let echo = try wire.read(exactly: "ping \(index)".utf8.count)
                    if echo != Array("ping \(index)".utf8) { throw ProxyError("wrong echo") }
                    wire.finish()
                    _ = try wire.readToEnd()
                }
            }
        }
        let records = try await mesh.a.closed(count + 4)
        #expect(records.allSatisfy { $0.reason == .completed && $0.bytesSent == $0.bytesReceived })
        #expect(Set(records.map(\.id)).count == count + 4)
        if way == .tunnel { _ = try await mesh.b.closed(count + 4) }
        // Other tests of this process come and go.
        for _ in 0..<3000 {
            if self.openDescriptors() <= before + (await self.idleTunnels(mesh)) { return }
            try await Task.sleep(for: .milliseconds(20))
        }
        #expect(self.openDescriptors() <= before + (await self.idleTunnels(mesh)))
    }

    @Test func `live connections are told with their byte counts`() async throws {
        let app = try App.echo()
        let mesh = try self.mesh(.tunnel)
        let wire = try mesh.dial(app.address)
        try wire.write("hello")
        _ = try await onThread { try wire.read(exactly: 5) }
        let live = await mesh.a.proxy.connections()
        #expect(live.count == 1)
        #expect(live.first?.bytesSent == 5 && live.first?.bytesReceived == 5 && live.first?.reason == nil)
        #expect(live.first?.wire == .splice && live.first?.destinationWorkload == TestMesh.server)
        mesh.a.proxy.stop()
        #expect(try await mesh.a.closed(1)[0].reason == .shutdown)
        #expect(try await onThread { wire.endingError() } == ECONNRESET)
    }

    @Test func `quiet connections end when they are configured to`() async throws {
        let app = try App.echo()
        let mesh = try self.mesh(.local) { $0.idleTimeout = .milliseconds(100) }
        let wire = try mesh.dial(app.address)
        try wire.write("hello")
        #expect(try await onThread { wire.endingError() } == ECONNRESET)
        #expect(try await mesh.a.closed(1)[0].reason == .idleTimeout)
    }

    @Test func `half-closed connections do not stay for ever`() async throws {
        let app = try App { wire in
            _ = try wire.readToEnd()
            _ = wire.endingError()
            usleep(1_000_000)
        }
        let mesh = try self.mesh(.local) { $0.halfClosedTimeout = .milliseconds(100) }
        let wire = try mesh.dial(app.address)
        wire.finish()
        #expect(try await onThread { wire.endingError() } == ECONNRESET)
        #expect(try await mesh.a.closed(1)[0].reason == .idleTimeout)
    }
}

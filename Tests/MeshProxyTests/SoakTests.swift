// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import Testing

@testable import MeshProxy

/// Much of everything. NODEMESH_SOAK=1 makes it a gigabyte, and a million connections.
@Suite(.serialized) struct SoakTests {
    private static let isLong = getenv("NODEMESH_SOAK") != nil

    @Test(arguments: [ProxyConfiguration.AEAD.openssl, .automatic], [1, 16])
    func `every byte of a long stream arrives, with either library and any batch`(
        aead: ProxyConfiguration.AEAD, records: Int
    ) async throws {
        let size = Self.isLong ? 1 << 30 : 24 << 20
        let app = try App { wire in
            let right = try wire.readPattern(size)
            try wire.writePattern(right)
            wire.finish()
        }
        let mesh = try TestMesh {
            $0.aead = aead
            $0.batchSize = records * 16384
        }
        try mesh.update()
        let wire = try mesh.dial(app.address)
        async let sent: Void = onThread { try wire.writePattern(size) }
        #expect(try await onThread { try wire.readPattern(size) } == size)
        try await sent
        wire.finish()
        #expect(try wire.read().isEmpty)
        for node in [mesh.a, mesh.b] {
            let record = try await node.closed(1)[0]
            #expect(record.reason == .completed)
            #expect(record.bytesSent == UInt64(size) && record.bytesReceived == UInt64(size))
        }
    }

    @Test func `many connections at once leave nothing behind`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh { $0.handshakeTimeout = .seconds(60) }
        try mesh.update()
        // Six descriptors each, all in this process.
        let count = Self.isLong ? 2500 : 400
        try await onThread {
            let wires = try (0..<count).map { _ in try mesh.dial(app.address) }
            for wire in wires { try wire.write("x") }
            for wire in wires where try wire.read(exactly: 1) != [120] { throw ProxyError("wrong echo") }
            for wire in wires { wire.finish() }
            for wire in wires where try !wire.readToEnd().isEmpty { throw ProxyError("more than was sent") }
        }
        for node in [mesh.a, mesh.b] {
            #expect(try await node.closed(count).allSatisfy { $0.reason == .completed })
            var statistics = await node.proxy.statistics()
            // What one node does not keep the other learns a moment later.
            for _ in 0..<2000 where statistics.idleTunnels > 65 || statistics.buffersLent > 0 {
                try await Task.sleep(for: .milliseconds(10))
                statistics = await node.proxy.statistics()
            }
            #expect(statistics.connections == 0 && statistics.buffersLent == 0 && statistics.pipesLent == 0)
            #expect(statistics.idleTunnels <= 65)
        }
    }

    @Test func `short connections do not add up in memory`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        try mesh.update()
        func run(_ count: Int) async throws {
            try await onThread {
                for _ in 0..<count {
                    let wire = try mesh.dial(app.address)
                    try wire.write("x")
                    if try wire.read(exactly: 1) != [120] { throw ProxyError("wrong echo") }
                    wire.finish()
                    _ = try wire.readToEnd()
                }
            }
        }
        try await run(500)
        let before = mesh.a.places + mesh.b.places
        try await run(Self.isLong ? 1_000_000 : 3000)
        // A few timers more or less.
        #expect(mesh.a.places + mesh.b.places <= before + 64)
        let statistics = await mesh.a.proxy.statistics()
        #expect(statistics.handshakesFull <= 2)
    }
}

extension TestNode {
    /// What a loop's tables have room for; read between two turns.
    fileprivate var places: Int {
        var sum = 0
        for loop in self.proxy.loops {
            let answer = Answer()
            let isTaken = loop.submit { core in
                answer.value = core.sides.capacity + core.timers.count + core.destinations.all.count
                answer.done.signal()
            }
            if isTaken { answer.done.wait() }
            sum += answer.value
        }
        return sum
    }
}

/// Written by a loop, read after it said so.
private final class Answer: @unchecked Sendable {
    let done = Semaphore()
    var value = 0
}

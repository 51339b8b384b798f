// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import Synchronization
import Testing

@testable import MeshProxy

/// The relay is right when two applications cannot tell it from a plain TCP connection. Each script runs over both and
/// each application must see the same: the same bytes, and the same of end, reset and silence. Only where a connection
/// was reset with bytes on their way is it left open how many of them arrived; that those are right is not.
@Suite(.serialized) struct OracleTests {
    /// NODEMESH_ORACLE_SEED repeats one script.
    private static let seeds: [UInt64] = {
        if let text = getenv("NODEMESH_ORACLE_SEED"), let seed = UInt64(String(cString: text)) { return [seed] }
        let count: UInt64 = getenv("NODEMESH_SOAK") != nil ? 20_000 : 100
        let first = UInt64.random(in: 0..<1 << 32)
        return (0..<count).map { first + $0 }
    }()

    /// An application that plays the server's part of the present script.
    private final class Stage: Sendable {
        let script = Mutex<OracleScript?>(nil)
        let view = Mutex<OracleView?>(nil)

        func serve(_ wire: Wire) {
            guard let script = self.script.withLock({ $0 }) else { return }
            let view = OraclePlayer.play(script.server, on: wire, buffer: script.serverBuffer)
            self.view.withLock { $0 = view }
        }

        func play(_ script: OracleScript, on wire: Wire) async throws -> (client: OracleView, server: OracleView?) {
            let client = try await onThread {
                OraclePlayer.play(script.client, on: wire, buffer: script.clientBuffer)
            }
            for _ in 0..<30_000 where self.view.withLock({ $0 }) == nil { try await Task.sleep(for: .milliseconds(1)) }
            return (client, self.view.withLock { $0 })
        }
    }

    private func compare(_ ways: [Way?], _ configure: @escaping (inout ProxyConfiguration) -> Void) async throws {
        let stage = Stage()
        let app = try App { stage.serve($0) }
        let meshes = try ways.map { way in
            try way.map { way in
                let mesh = try TestMesh(configure)
                try mesh.update(destination: way.destination)
                return mesh
            }
        }
        for seed in Self.seeds {
            let script = OracleScript(seed: seed)
            var expected: (client: OracleView, server: OracleView?)?
            for (way, mesh) in zip(ways, meshes) {
                stage.script.withLock { $0 = script }
                stage.view.withLock { $0 = nil }
                let wire = try mesh.map { try $0.dial(app.address) } ?? Wire(to: app.address)
                let seen = try await stage.play(script, on: wire)
                let comment: Comment = "\(way?.rawValue ?? "plain") \(script)"
                for view in [seen.client, seen.server] {
                    let view = try #require(view, comment)
                    #expect(view.isRight && view.ending != .timedOut && view.ending != .early, comment)
                }
                guard let plain = expected else {
                    expected = seen
                    continue
                }
                #expect(seen.client.ending == plain.client.ending, comment)
                #expect(seen.server?.ending == plain.server?.ending, comment)
                if script.isCountFree { continue }
                #expect(seen.client.received == plain.client.received, comment)
                #expect(seen.server?.received == plain.server?.received, comment)
            }
        }
        for mesh in meshes {
            guard let mesh else { continue }
            for node in [mesh.a, mesh.b] {
                var statistics = await node.proxy.statistics()
                for _ in 0..<2000 where statistics.connections > 0 {
                    try await Task.sleep(for: .milliseconds(5))
                    statistics = await node.proxy.statistics()
                }
                #expect(statistics.connections == 0 && statistics.buffersLent == 0 && statistics.pipesLent == 0)
            }
            #expect(mesh.a.closedRecords.count == Self.seeds.count)
        }
    }

    @Test func `applications see what they see over plain TCP`() async throws {
        try await self.compare([nil, .local, .tunnel]) { _ in }
    }

    @Test func `applications see what they see over plain TCP when buffers are short`() async throws {
        try await self.compare([nil, .local, .tunnel]) {
            $0.batchSize = 32 << 10
            $0.pipeSize = 4096
            $0.lentBuffersPerLoop = 2
            $0.lentPipesPerLoop = 1
        }
    }
}

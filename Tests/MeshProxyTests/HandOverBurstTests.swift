// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshModel
import Testing

@testable import MeshProxy

/// A data plane is replaced while many tunnels are being made.
@Suite(.serialized) struct HandOverBurstTests {
    @Test func `handshakes under way end first, and those that wait begin in the next data plane`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh { $0.tunnelPool.isReused = false }
        try mesh.update()
        var wires: [Wire] = []
        for round in 0..<2 {
            for node in [mesh.b, mesh.a] {
                for number in 0..<60 {
                    let wire = try mesh.dial(app.address)
                    try wire.write("number \(wires.count)")
                    wires.append(wire)
                    // Some are far when it happens, others at their begin.
                    if number == 40 { try await Task.sleep(for: .milliseconds(20)) }
                }
                let handOver = try await node.replace(settle: .seconds(2)) { $0.loops = 1 + round }
                #expect(handOver.given.closed.isEmpty && handOver.taken.closed.isEmpty)
                #expect(handOver.closed.closed.isEmpty)
            }
        }
        let all = wires
        try await onThread {
            for (index, wire) in all.enumerated() {
                let text = "number \(index)"
                if try wire.read(exactly: text.utf8.count) != Array(text.utf8) { throw ProxyError("wrong echo") }
                wire.finish()
                if try !wire.readToEnd().isEmpty { throw ProxyError("more than was sent") }
            }
        }
        #expect(try await mesh.a.closed(all.count).allSatisfy { $0.reason == .completed })
    }

    @Test func `a peer that does not go on with its handshake delays a hand-over by the given time only`() async throws
    {
        let mesh = try TestMesh()
        try mesh.update()
        let tunnel = try #require(mesh.b.proxy.tunnelEndpoint)
        let peer = try HostilePeer(to: tunnel, as: try mesh.identity(TestMesh.client))
        try peer.wire.write(peer.hello())
        #expect(try await onThread { try !peer.wire.read().isEmpty })
        let clock = ContinuousClock()
        let begin = clock.now
        let handOver = try await mesh.b.replace(settle: .milliseconds(50))
        #expect(handOver.given.closed == ["in the middle of a TLS handshake": 1])
        #expect(clock.now - begin < Proxy.settleLimit)
    }
}

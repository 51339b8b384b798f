// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import Testing

@testable import MeshProxy

/// A data plane is replaced while many tunnels are being made.
extension HandOverTests {
    @Test func `handshakes under way end first, and those that wait begin in the next data plane`() async throws {
        let app = try App.echo()
        let mesh = try TestMesh { $0.tunnelPool.isReused = false }
        try mesh.update()
        var total = 0
        for round in 0..<2 {
            for node in [mesh.b, mesh.a] {
                var wires: [Wire] = []
                for number in 0..<40 {
                    let wire = try mesh.dial(app.address)
                    try wire.write("hello")
                    wires.append(wire)
                    // Some are far when it happens, others at their begin.
                    if number == 30 { try await Task.sleep(for: .milliseconds(20)) }
                }
                let handOver = try await node.replace { $0.loops = 1 + round }
                #expect(handOver.given.closed.isEmpty && handOver.taken.closed.isEmpty)
                #expect(handOver.closed.closed.isEmpty)
                let all = wires
                try await onThread {
                    for wire in all {
                        if try wire.read(exactly: 5) != Array("hello".utf8) { throw ProxyError("wrong echo") }
                        wire.finish()
                        if try !wire.readToEnd().isEmpty { throw ProxyError("more than was sent") }
                    }
                }
                total += all.count
                #expect(try await mesh.a.closed(total).allSatisfy { $0.reason == .completed })
            }
        }
    }

    @Test func `a peer that does not go on with its handshake is cut in the end, and counted`() async throws {
        let mesh = try TestMesh()
        try mesh.update()
        let tunnel = try #require(mesh.b.proxy.tunnelEndpoint)
        let peer = try HostilePeer(to: tunnel, as: try mesh.identity(TestMesh.client))
        try peer.wire.write(peer.hello())
        #expect(try await onThread { try !peer.wire.read().isEmpty })
        let handOver = try await mesh.b.replace(settle: .milliseconds(50))
        #expect(handOver.given.closed == ["in the middle of a TLS handshake": 1])
        #expect(try await onThread { peer.wire.endingError() } == ECONNRESET)
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import MeshProxy

/// What may change while the loops run.
@Suite struct ReconfigureTests {
    @Test func anIdleTimeoutHoldsForConnectionsThatAreOpen() async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        try mesh.update(destination: TestMesh.neighbour)
        let wire = try mesh.dial(app.address)
        try wire.write("hello")
        #expect(try await onThread { try wire.read(exactly: 5) } == Array("hello".utf8))
        var configuration = mesh.a.proxy.configuration
        configuration.idleTimeout = .milliseconds(100)
        mesh.a.proxy.reconfigure(configuration)
        #expect(try await mesh.a.closed(1)[0].reason == .idleTimeout)
    }

    @Test func aBoundOfConnectionsHoldsAtOnce() async throws {
        let app = try App.echo()
        let mesh = try TestMesh()
        try mesh.update(destination: TestMesh.neighbour)
        let wire = try mesh.dial(app.address)
        try wire.write("hello")
        #expect(try await onThread { try wire.read(exactly: 5) } == Array("hello".utf8))
        var configuration = mesh.a.proxy.configuration
        configuration.maxConnections = 1
        mesh.a.proxy.reconfigure(configuration)
        // Asked after it, so the loop has it.
        _ = await mesh.a.proxy.statistics()
        let second = try mesh.dial(app.address)
        _ = try await onThread { second.endingError() }
        #expect(await mesh.a.proxy.statistics().refusedByLimit == 1)
    }
}

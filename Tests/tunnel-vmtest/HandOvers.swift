// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshProxy

/// Tunnels of either engine whose data plane is replaced under them.
enum HandOvers {
    static let all: [Main.Scenario] = {
        var all: [Main.Scenario] = []
        for engines in [(kernel, kernel), (kernel, user), (user, kernel)] {
            all.append(
                ("hand-over-\(engines.0)-\(engines.1)", { try await Self.underTraffic((engines.0, engines.1)) }))
        }
        all.append(("hand-over-half-closed", { try await Self.halfClosed() }))
        return all
    }()

    private static let kernel = ProxyConfiguration.Engine.kernel
    private static let user = ProxyConfiguration.Engine.user

    /// Both directions at one time with small send buffers, so that pipes, records and close_notify are caught anywhere.
    private static func underTraffic(
        _ engines: (ProxyConfiguration.Engine, ProxyConfiguration.Engine)
    ) async throws -> String {
        try await withSmallBuffers {
            let count = 24 << 20
            let app = try App { wire in
                let writer = try Worker { try wire.writePattern(count, random: true) }
                try wire.checkPattern(count, isEndWanted: false)
                try writer.value()
                wire.finish()
                _ = try wire.read()
            }
            let mesh = try Mesh(engines)
            let wire = try mesh.dial(app.address)
            let writer = try Worker {
                try wire.writePattern(count, random: true)
                wire.finish()
            }
            let reader = try Worker { try wire.checkPattern(count, isEndWanted: false) }
            try await Self.established(mesh)
            var carried = 0
            for _ in 0..<15 {
                usleep(20_000)
                for node in [mesh.a, mesh.b] { carried += try await node.replace().carried }
            }
            try writer.value()
            try reader.value()
            try expect(try wire.read().isEmpty, "no end")
            try expect(carried > 0, "nothing was carried")
            try mesh.a.expectClosed(.completed, engine: Relays.engine(engines.0))
            try mesh.b.expectClosed(.completed, engine: Relays.engine(engines.1))
            let record = try mesh.a.closed()[0]
            try expect(record.bytesSent == count && record.bytesReceived == count, "counted \(record)")
            try await mesh.a.expectIdle()
            try await mesh.b.expectIdle()
            return "\(carried) carried"
        }
    }

    /// Waits until the connection relays on both nodes.
    private static func established(_ mesh: Mesh) async throws {
        for node in [mesh.a, mesh.b] {
            var live = await node.proxy.connections()
            for _ in 0..<2000 where live.first?.engine == nil {
                usleep(10_000)
                live = await node.proxy.connections()
            }
            try expect(live.first?.engine != nil, "\(node.name): nothing was established")
        }
    }

    private static func halfClosed() async throws -> String {
        let gate = Semaphore()
        let app = try App { wire in
            while try !wire.read().isEmpty {}
            gate.wait()
            try wire.writePattern(4 << 20)
            wire.finish()
        }
        let mesh = try Mesh()
        let wire = try mesh.dial(app.address)
        try wire.writePattern(100_000)
        wire.finish()
        try await Self.established(mesh)
        for _ in 0..<3 {
            usleep(50_000)
            for node in [mesh.a, mesh.b] {
                let carried = try await node.replace().carried
                try expect(carried == 1, "\(carried) carried")
            }
        }
        gate.signal()
        try wire.checkPattern(4 << 20)
        try mesh.a.expectClosed(.completed, engine: .kernel)
        try mesh.b.expectClosed(.completed, engine: .kernel)
        return ""
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshProxy
import MeshTunnel

/// Bytes that must arrive, whatever drives either end of the tunnel.
enum Relays {
    static let all: [Main.Scenario] = {
        var all: [Main.Scenario] = []
        for suite in CipherSuite.allCases {
            for (a, b) in [(kernel, kernel), (kernel, user), (user, kernel)] {
                all.append(
                    (
                        "relay-\(suite)-\(a)-\(b)",
                        {
                            try await Self.bothWays(
                                (a, b), suite, count: a == b && suite == .aes128GCM ? 16 << 20 : 6 << 20)
                        }
                    ))
            }
            all.append(("openssl-\(suite)", { try await Self.openSSL(suite) }))
        }
        all.append(("small-messages", { try await Self.smallMessages() }))
        all.append(("server-speaks-first", { try await Self.serverFirst() }))
        all.append(("slow-reader", { try await Self.slowReader() }))
        all.append(("many-short-streams", { try await Self.manyStreams() }))
        all.append(("small-pipes", { try await Self.pipes() }))
        all.append(("many-connections", { try await Self.parallel() }))
        return all
    }()

    private static let kernel = ProxyConfiguration.Engine.kernel
    private static let user = ProxyConfiguration.Engine.user

    static func engine(_ engine: ProxyConfiguration.Engine) -> TunnelEngine { engine == .kernel ? .kernel : .user }

    /// Both directions at one time, in pieces of random sizes, with small send buffers.
    static func bothWays(
        _ engines: (ProxyConfiguration.Engine, ProxyConfiguration.Engine), _ suite: CipherSuite, count: Int
    ) async throws -> String {
        try await withSmallBuffers {
            let app = try App { wire in
                let writer = try Worker { try wire.writePattern(count, random: true) }
                try wire.checkPattern(count, isEndWanted: false)
                try writer.value()
                wire.finish()
                _ = try wire.read()
            }
            let mesh = try Mesh(engines, suite: suite)
            let wire = try mesh.dial(app.address)
            let writer = try Worker { try wire.writePattern(count, random: true) }
            try wire.checkPattern(count, isEndWanted: false)
            try writer.value()
            wire.finish()
            try expect(try wire.read().isEmpty, "no end")
            try mesh.a.expectClosed(.completed, engine: Self.engine(engines.0))
            try mesh.b.expectClosed(.completed, engine: Self.engine(engines.1))
            let record = try mesh.a.closed()[0]
            try expect(record.bytesSent == count && record.bytesReceived == count, "counted \(record)")
            try await mesh.a.expectIdle()
            try await mesh.b.expectIdle()
            return ""
        }
    }

    /// Another implementation on either side of a node that uses the kernel.
    static func openSSL(_ suite: CipherSuite) async throws -> String {
        let name =
            switch suite {
            case .aes128GCM: "TLS_AES_128_GCM_SHA256"
            case .aes256GCM: "TLS_AES_256_GCM_SHA384"
            case .chaCha20Poly1305: "TLS_CHACHA20_POLY1305_SHA256"
            }
        let count = 2 << 20
        let mesh = try Mesh()
        // As client: the answer comes after the request's end.
        let app = try App { wire in
            try wire.checkPattern(count)
            try wire.writePattern(count)
            wire.finish()
        }
        guard let address = mesh.b.proxy.tunnelEndpoint else { throw Wrong("no tunnel listener") }
        let client = try OpenSSLPeer(
            try Wire(to: address), isServer: false, mesh.clientLeaf, root: mesh.credentials.root, suite: name)
        try client.handshake()
        try client.connect(to: app)
        var sent = 0
        while sent < count {
            let place = sent % Pattern.block.count
            let chunk = min(count - sent, Pattern.block.count - place, .random(in: 1...100_000))
            try client.write(Array(Pattern.block[place..<(place + chunk)]))
            sent += chunk
        }
        try client.wire.write(client.closeNotify())
        client.wire.finish()
        let answer = try client.read(count + 1)
        try expect(answer.count == count, "the answer has \(answer.count) bytes")
        try Pattern.check(answer, at: 0)
        try mesh.b.expectClosed(.completed, engine: .kernel)

        // As server: a node that dials it.
        let (leaf, root) = (mesh.serverLeaf, mesh.credentials.root)
        let server = try App { wire in
            let peer = try OpenSSLPeer(wire, isServer: true, leaf, root: root, suite: name)
            try peer.handshake()
            try peer.accept()
            let request = try peer.read(count)
            try Pattern.check(request, at: 0)
            // A ticket between data, which the node's kernel passes up as a record of another type.
            try peer.wire.write(try peer.records(Array(request[..<100_000])) + peer.ticket())
            try peer.write(Array(request[100_000...]))
            try peer.wire.write(peer.closeNotify())
            try expect(try peer.read(1).isEmpty, "more than was sent")
            peer.wire.finish()
        }
        try mesh.update(suite: suite, tunnel: server.address)
        let wire = try mesh.dial(SocketAddress(ip: Mesh.loopback, port: 9))
        try wire.writePattern(count)
        try wire.checkPattern(count)
        wire.finish()
        try mesh.a.expectClosed(.completed, engine: .kernel)
        return ""
    }

    /// Messages one after the other, with switches to splice and back.
    static func smallMessages() async throws -> String {
        let app = try App { wire in
            while true {
                let bytes = try wire.read()
                if bytes.isEmpty { break }
                try wire.write(bytes)
            }
            wire.finish()
        }
        var notes: [String] = []
        for engine in [kernel, user] {
            let mesh = try Mesh((engine, engine))
            let wire = try mesh.dial(app.address)
            var times: [UInt64] = []
            for round in 0..<40 {
                let start = Clock.monotonic
                let count = [1, 100, 40_000, 100_000][round % 4]
                try wire.write(Pattern.block[..<count])
                try expect(
                    try wire.read(exactly: count) == Array(Pattern.block[..<count]), "a message came back changed")
                times.append((Clock.monotonic - start) / 1_000_000)
            }
            wire.finish()
            try expect(try wire.read().isEmpty, "no end")
            try mesh.a.expectClosed(.completed, engine: Self.engine(engine))
            times.sort()
            notes.append("\(engine): median \(times[20]) ms, slowest \(times[39]) ms")
        }
        return notes.joined(separator: "; ")
    }

    static func serverFirst() async throws -> String {
        let app = try App { wire in
            try wire.writePattern(200_000)
            try wire.checkPattern(3, isEndWanted: true)
            wire.finish()
        }
        for _ in 0..<5 {
            let mesh = try Mesh()
            let wire = try mesh.dial(app.address)
            try wire.checkPattern(200_000, isEndWanted: false)
            try wire.writePattern(3)
            wire.finish()
            try expect(try wire.read().isEmpty, "no end")
            try mesh.a.expectClosed(.completed, engine: .kernel)
            try mesh.b.expectClosed(.completed, engine: .kernel)
        }
        return ""
    }

    /// A reader that stops stops the writer, and memory stays bounded.
    static func slowReader() async throws -> String {
        let count = 6 << 20
        let app = try App { wire in
            try wire.checkPattern(count, pause: 3000)
            wire.finish()
        }
        let mesh = try Mesh()
        let wire = try mesh.dial(app.address)
        let writer = try Worker { try wire.writePattern(count) }
        try writer.value()
        wire.finish()
        try expect(try wire.read().isEmpty, "no end")
        try mesh.a.expectClosed(.completed, engine: .kernel)
        try mesh.b.expectClosed(.completed, engine: .kernel)
        try await mesh.b.expectIdle()
        return ""
    }

    /// T3 where it hurts: streams that end while much is on its way, through small buffers.
    static func manyStreams() async throws -> String {
        try await withSmallBuffers {
            let mesh = try Mesh()
            let rounds = 25
            for _ in 0..<rounds {
                let count = Int.random(in: 1...300_000)
                let app = try App { wire in
                    try wire.writePattern(count, random: true)
                    wire.finish()
                    _ = try wire.read()
                }
                let wire = try mesh.dial(app.address)
                try wire.checkPattern(count)
                wire.finish()
            }
            for node in [mesh.a, mesh.b] {
                let records = try node.closed(rounds)
                try expect(
                    records.allSatisfy { $0.reason == .completed && $0.engine == .kernel },
                    "\(node.name): \(records.first { $0.reason != .completed }.map { "\($0)" } ?? "engine")")
            }
            return ""
        }
    }

    /// T2: pipes too small for a record are not used, those that are just large enough lose nothing.
    static func pipes() async throws -> String {
        for size in [4096, 8192, 8 * 4096, 16 * 4096] {
            let app = try App { wire in
                try wire.checkPattern(2 << 20)
                try wire.writePattern(2 << 20)
                wire.finish()
            }
            let mesh = try Mesh { $0.pipeSize = size }
            let wire = try mesh.dial(app.address)
            try wire.writePattern(2 << 20)
            wire.finish()
            try wire.checkPattern(2 << 20)
            try mesh.a.expectClosed(.completed, engine: .kernel)
        }
        return ""
    }

    /// More connections than pipes.
    static func parallel() async throws -> String {
        let count = 1 << 20
        let app = try App { wire in
            try wire.checkPattern(count)
            try wire.writePattern(count)
            wire.finish()
        }
        let mesh = try Mesh { $0.lentPipesPerLoop = 4 }
        let workers = try (0..<12).map { _ in
            let wire = try mesh.dial(app.address)
            return try Worker {
                try wire.writePattern(count, random: true)
                wire.finish()
                try wire.checkPattern(count)
            }
        }
        for worker in workers { try worker.value() }
        _ = try mesh.a.closed(12)
        try await mesh.a.expectIdle()
        let statistics = await mesh.b.proxy.statistics()
        try expect(statistics.kernelTunnels == 12, "\(statistics.kernelTunnels) kernel tunnels")
        return ""
    }
}

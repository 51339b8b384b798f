// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshProxy
import MeshTunnel

/// When the kernel does not get a tunnel.
enum Fallbacks {
    static let all: [Main.Scenario] = [
        ("foreign-peer", { try await Self.foreignPeer() }), ("automatic", { try await Self.automatic() }),
    ]

    /// For a machine without the module `tls`; run only when asked for.
    static let absent: [Main.Scenario] = [("without-kernel-tls", { try await Self.withoutModule() })]

    static func withoutModule() async throws -> String {
        var text = ""
        do { _ = try Mesh((.kernel, .kernel)) } catch { text = "\(error)" }
        try expect(text.contains("set engine: user"), "engine kernel does not fail as it should: '\(text)'")
        let app = try App { wire in
            try wire.checkPattern(1000)
            wire.finish()
        }
        let mesh = try Mesh((.automatic, .automatic))
        let wire = try mesh.dial(app.address)
        try wire.writePattern(1000)
        wire.finish()
        try expect(try wire.read().isEmpty, "no end")
        try mesh.a.expectClosed(.completed, engine: .user)
        return text
    }

    /// A peer that does not say that it is of our own making might change its keys.
    static func foreignPeer() async throws -> String {
        let mesh = try Mesh()
        let app = try App { wire in
            try wire.checkPattern(6)
            try wire.writePattern(100)
            wire.finish()
        }
        guard let address = mesh.b.proxy.tunnelEndpoint else { throw Wrong("no tunnel listener") }
        let peer = try OpenSSLPeer(
            try Wire(to: address), isServer: false, mesh.clientLeaf, root: mesh.credentials.root)
        try peer.handshake()
        try peer.write(ConnectRequest(authority: app.address).encoded)
        var answer: [UInt8] = []
        while !answer.suffix(4).elementsEqual([13, 10, 13, 10]) { answer += try peer.read(1) }
        try peer.write(Array(Pattern.block[..<3]))
        try peer.wire.write(peer.keyUpdate())
        try peer.write(Array(Pattern.block[3..<6]))
        try peer.wire.write(peer.closeNotify())
        try expect(try peer.read(101).count == 100, "the answer is not whole")
        peer.wire.finish()
        try mesh.b.expectClosed(.completed, engine: .user)
        return ""
    }

    /// The probe finds kernel TLS here and times both engines.
    static func automatic() async throws -> String {
        let probe = KernelProbe.run(aead: AEADProvider.fastest().provider)
        try expect(probe.failures.isEmpty, "\(probe.failures)")
        guard let kernel = probe.kernelTime, let user = probe.userTime else { throw Wrong("not timed") }
        let app = try App { wire in
            try wire.checkPattern(1000)
            wire.finish()
        }
        let mesh = try Mesh((.automatic, .automatic))
        let wire = try mesh.dial(app.address)
        try wire.writePattern(1000)
        wire.finish()
        try expect(try wire.read().isEmpty, "no end")
        try mesh.a.expectClosed(.completed)
        let chosen = try mesh.a.closed()[0].engine
        return "kernel \(kernel / 1000) us/MiB, user \(user / 1000) us/MiB: \(chosen.map { "\($0)" } ?? "?")"
    }
}

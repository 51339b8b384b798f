// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshProxy
import MeshTunnel

/// How connections end, and peers that do not do as they should.
enum Endings {
    static let all: [Main.Scenario] = [
        ("half-close", { try await Self.halfClose() }), ("truncated", { try await Self.truncated() }),
        ("forged-record", { try await Self.forged() }), ("no-record-at-all", { try await Self.garbage() }),
        ("key-update", { try await Self.keyUpdate() }), ("empty-records", { try await Self.emptyRecords() }),
        ("endless-empty-records", { try await Self.endlessEmptyRecords() }),
        ("half-a-record", { try await Self.halfRecord() }), ("early-data", { try await Self.earlyData() }),
        ("all-at-once", { try await Self.allAtOnce() }), ("client-reset", { try await Self.clientReset() }),
        ("server-reset", { try await Self.serverReset() }), ("refused", { try await Self.refused() }),
    ]

    /// Tells how an application's connection ended.
    private final class Ending: @unchecked Sendable {
        private let pipe: (read: CInt, write: CInt)
        init() throws { self.pipe = try Pipe(capacity: 4096).release() }
        func tell(_ code: CInt) {
            var code = code
            write(self.pipe.write, &code, 4)
        }
        func code() throws -> CInt {
            var entry = pollfd(fd: self.pipe.read, events: Int16(POLLIN), revents: 0)
            if poll(&entry, 1, 20_000) <= 0 { throw Wrong("the application's connection does not end") }
            var code: CInt = 0
            read(self.pipe.read, &code, 4)
            return code
        }
    }

    static func halfClose() async throws -> String {
        let app = try App { wire in
            try wire.checkPattern(7)
            try wire.writePattern(3 << 20)
            wire.finish()
        }
        let mesh = try Mesh()
        let wire = try mesh.dial(app.address)
        try wire.writePattern(7)
        wire.finish()
        try wire.checkPattern(3 << 20)
        try mesh.a.expectClosed(.completed, engine: .kernel)
        try mesh.b.expectClosed(.completed, engine: .kernel)
        return ""
    }

    private static func connected(_ serve: @escaping @Sendable (Wire) throws -> Void) throws -> (Mesh, SessionPeer) {
        let mesh = try Mesh()
        let app = try App(serve)
        let peer = try SessionPeer(mesh)
        try peer.connect(to: app)
        return (mesh, peer)
    }

    /// FIN without close_notify is no end: the application must not take what it has for the whole.
    static func truncated() async throws -> String {
        for isInRecord in [false, true] {
            let ending = try Ending()
            let (mesh, peer) = try Self.connected { wire in ending.tell(wire.endingError()) }
            let records = try peer.records(Array(Pattern.block[..<50_000]))
            try peer.wire.write(isInRecord ? records.dropLast(100) : records[...])
            peer.wire.finish()
            try mesh.b.expectClosed(.tunnelReset, engine: .kernel, detail: "without close_notify")
            try expect(try ending.code() == ECONNRESET, "the application saw an orderly end")
        }
        return ""
    }

    static func forged() async throws -> String {
        for count in [10, 40_000] {
            let ending = try Ending()
            let (mesh, peer) = try Self.connected { wire in ending.tell(wire.endingError()) }
            var records = try peer.records(Array(Pattern.block[..<count]))
            records[records.count / 2] ^= 1
            try peer.wire.write(records)
            try mesh.b.expectClosed(.protocolError, engine: .kernel, detail: "authentication")
            try expect(try ending.code() == ECONNRESET, "the application saw an orderly end")
        }
        return ""
    }

    static func garbage() async throws -> String {
        for bytes in [
            Array("GET / HTTP/1.1\r\n\r\n".utf8), [23, 3, 3, 0xff, 0xff] + [UInt8](repeating: 0, count: 70_000),
        ] {
            let (mesh, peer) = try Self.connected { wire in _ = wire.endingError() }
            try? peer.wire.write(bytes)
            try mesh.b.expectClosed(.protocolError, engine: .kernel)
        }
        return ""
    }

    /// T5.
    static func keyUpdate() async throws -> String {
        let mesh = try Mesh()
        let ending = try Ending()
        let app = try App { wire in ending.tell(wire.endingError()) }
        guard let address = mesh.b.proxy.tunnelEndpoint else { throw Wrong("no tunnel listener") }
        let peer = try OpenSSLPeer(
            try Wire(to: address), isServer: false, mesh.clientLeaf, root: mesh.credentials.root)
        try peer.handshake()
        try peer.connect(to: app)
        try peer.wire.write(try peer.records([1, 2, 3]) + peer.keyUpdate())
        // It may be cut off by now.
        try? peer.write([4, 5, 6])
        try mesh.b.expectClosed(.tunnelReset, engine: .kernel, detail: "changes its key")
        try expect(try ending.code() == ECONNRESET, "the application saw an orderly end")
        return ""
    }

    /// T7: records without content are no end.
    static func emptyRecords() async throws -> String {
        let count = 300_000
        let (mesh, peer) = try Self.connected { wire in
            try wire.checkPattern(count)
            try wire.write([1])
            wire.finish()
        }
        var sent = 0
        while sent < count {
            let place = sent % Pattern.block.count
            let chunk = min(count - sent, 30_000)
            var bytes = try peer.records(Array(Pattern.block[place..<(place + chunk)]))
            for _ in 0..<3 { bytes += try peer.emptyRecord() }
            try peer.wire.write(bytes)
            usleep(5000)
            sent += chunk
        }
        try peer.wire.write(try peer.closeNotify())
        try expect(try peer.readToEnd() == [1], "no answer")
        peer.wire.finish()
        try mesh.b.expectClosed(.completed, engine: .kernel)
        return ""
    }

    /// A peer that keeps a node busy with nothing gains nothing.
    static func endlessEmptyRecords() async throws -> String {
        let (mesh, peer) = try Self.connected { wire in _ = wire.endingError() }
        // Bulk first, so that the flow splices.
        try peer.wire.write(try peer.records(Array(Pattern.block[..<200_000])))
        var bytes: [UInt8] = []
        for _ in 0..<2000 { bytes += try peer.emptyRecord() }
        try? peer.wire.write(bytes)
        try? peer.wire.write(try peer.closeNotify())
        peer.wire.finish()
        let record = try mesh.b.closed()[0]
        try expect(record.reason != nil, "no reason")
        return "\(record.reason?.rawValue ?? ""): \(record.detail ?? "")"
    }

    /// T4: the loop sleeps while a record is not complete.
    static func halfRecord() async throws -> String {
        let count = 20_000
        let (mesh, peer) = try Self.connected { wire in
            try wire.checkPattern(count)
            wire.finish()
        }
        let records = try peer.records(Array(Pattern.block[..<count]))
        try peer.wire.write(records[..<18_000])
        usleep(100_000)
        let before = await mesh.b.proxy.statistics().turns
        usleep(400_000)
        let turns = await mesh.b.proxy.statistics().turns - before
        try expect(turns < 20, "the loop turned \(turns) times with nothing to do")
        try peer.wire.write(records[18_000...])
        try peer.wire.write(try peer.closeNotify())
        try expect(try peer.readToEnd().isEmpty, "bytes from nowhere")
        peer.wire.finish()
        try mesh.b.expectClosed(.completed, engine: .kernel)
        return "\(turns) turns in 400 ms"
    }

    /// Records that wait in the socket, the last one cut, when the kernel takes over.
    static func earlyData() async throws -> String {
        for isGlued in [false, true] {
            let count = 100_000
            let mesh = try Mesh()
            let app = try App { wire in
                try wire.checkPattern(count)
                try wire.writePattern(count)
                wire.finish()
            }
            let peer = try SessionPeer(mesh)
            // Glued, the node reads them together with the end of the handshake, and may have to keep the tunnel.
            if !isGlued { usleep(100_000) }
            let bytes = try peer.request(app) + peer.records(Array(Pattern.block[..<count]))
            try peer.wire.write(bytes[..<60_000])
            usleep(100_000)
            try peer.wire.write(bytes[60_000...] + (try peer.closeNotify()))
            try peer.readAnswer()
            let answer = try peer.readToEnd()
            try expect(answer.count == count, "the answer has \(answer.count) bytes")
            try Pattern.check(answer, at: 0)
            peer.wire.finish()
            try mesh.b.expectClosed(.completed, engine: isGlued ? nil : .kernel)
        }
        return ""
    }

    /// T6: the peer has said all and sent its FIN before the kernel takes over.
    static func allAtOnce() async throws -> String {
        for isGlued in [false, true] {
            let mesh = try Mesh()
            let app = try App { wire in
                try wire.checkPattern(5000)
                try wire.writePattern(5000)
                wire.finish()
            }
            let peer = try SessionPeer(mesh)
            if !isGlued { usleep(100_000) }
            try peer.wire.write(
                try peer.request(app) + peer.records(Array(Pattern.block[..<5000])) + peer.closeNotify())
            peer.wire.finish()
            try peer.readAnswer()
            try Pattern.check(try peer.readToEnd(), at: 0)
            try mesh.b.expectClosed(.completed, engine: isGlued ? nil : .kernel)
        }
        return ""
    }

    static func clientReset() async throws -> String {
        let ending = try Ending()
        let app = try App { wire in
            try wire.write([1])
            ending.tell(wire.endingError())
        }
        let mesh = try Mesh()
        let wire = try mesh.dial(app.address)
        try wire.writePattern(100_000)
        _ = try wire.read()
        wire.reset()
        try mesh.a.expectClosed(.clientReset, engine: .kernel)
        try mesh.b.expectClosed(.tunnelReset, engine: .kernel)
        try expect(try ending.code() == ECONNRESET, "the application saw an orderly end")
        return ""
    }

    static func serverReset() async throws -> String {
        let app = try App { wire in
            _ = try wire.read()
            wire.reset()
        }
        let mesh = try Mesh()
        let wire = try mesh.dial(app.address)
        try wire.writePattern(100)
        try expect(wire.endingError() == ECONNRESET, "the client saw an orderly end")
        try mesh.b.expectClosed(.serverReset, engine: .kernel)
        try mesh.a.expectClosed(.tunnelReset, engine: .kernel)
        return ""
    }

    /// A refusal travels before any engine is chosen.
    static func refused() async throws -> String {
        let mesh = try Mesh { $0.extraAttempts = 0 }
        // Nobody listens there.
        let wire = try mesh.dial(SocketAddress(ip: Mesh.loopback, port: 9))
        try expect(wire.endingError() == ECONNRESET, "the client saw an orderly end")
        try mesh.a.expectClosed(.connectRefused)
        return ""
    }
}

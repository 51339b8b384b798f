// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import Synchronization
import Testing

@testable import MeshProxy
@testable import MeshTunnel

/// Peers that mean ill: each ends with a reason, in bounded time, and nobody else notices.
@Suite(.serialized) struct HostileTests {
    /// A mesh with an established connection beside the attacks.
    private final class Ground: Sendable {
        let mesh: TestMesh
        let app: App
        let neighbour: Wire
        let identity: TLSIdentity

        init(_ configure: (inout ProxyConfiguration) -> Void = { _ in }) async throws {
            self.mesh = try TestMesh {
                $0.handshakeTimeout = .milliseconds(800)
                $0.tunnelPool.idleTimeout = .milliseconds(800)
                configure(&$0)
            }
            self.app = try App.echo()
            try self.mesh.update()
            self.identity = try self.mesh.identity(TestMesh.client)
            // On a loaded machine a good handshake too may take too long.
            let (mesh, address) = (self.mesh, self.app.address)
            self.neighbour = try await onThread {
                for _ in 0..<50 {
                    let wire = try mesh.dial(address)
                    do {
                        try wire.write("hello")
                        if try wire.read(exactly: 5).count == 5 { return wire }
                    } catch { usleep(100_000) }
                }
                throw ProxyError("no connection could be made")
            }
        }

        /// The established connection still works.
        func checkNeighbour(_ comment: Comment) async throws {
            let wire = self.neighbour
            try wire.write("still here")
            #expect(try await onThread { try wire.read(exactly: 10) } == Array("still here".utf8), comment)
        }

        /// All but the neighbour's connection has ended, and nothing is lent.
        func settle(_ comment: Comment) async throws {
            for node in [self.mesh.a, self.mesh.b] {
                var statistics = await node.proxy.statistics()
                for _ in 0..<1000 where statistics.connections > 1 || statistics.buffersLent > 0 {
                    try await Task.sleep(for: .milliseconds(10))
                    statistics = await node.proxy.statistics()
                }
                #expect(statistics.connections == 1 && statistics.buffersLent == 0, comment)
            }
        }
    }

    private struct Attack: Sendable {
        let name: String
        /// What the attacked node says; none: a tunnel of which nothing was asked ends without a word.
        let reasons: Set<CloseReason>
        let run: @Sendable (HostilePeer, SocketAddress) throws -> Void

        init(
            _ name: String, _ reasons: Set<CloseReason>,
            _ run: @escaping @Sendable (HostilePeer, SocketAddress) throws -> Void
        ) {
            self.name = name
            self.reasons = reasons
            self.run = run
        }

        /// After the handshake.
        static func secured(
            _ name: String, _ reasons: Set<CloseReason>,
            _ run: @escaping @Sendable (HostilePeer) throws -> Void
        ) -> Attack {
            Attack(name, reasons) { peer, _ in
                try peer.secure()
                try run(peer)
            }
        }

        /// After the CONNECT was granted.
        static func connected(
            _ name: String, _ reasons: Set<CloseReason>,
            _ run: @escaping @Sendable (HostilePeer) throws -> Void
        ) -> Attack {
            Attack(name, reasons) { peer, address in
                try peer.secure()
                #expect(try peer.connect(address).hasPrefix("HTTP/1.1 200"), "\(name)")
                try run(peer)
            }
        }
    }

    private static func attacks() -> [Attack] {
        @Sendable func slowly(_ bytes: [UInt8], _ wire: Wire) throws {
            for byte in bytes {
                try wire.write([byte])
                usleep(50_000)
            }
        }
        return [
            Attack("nothing", [.tlsFailed]) { _, _ in },
            Attack("half a handshake", [.tlsFailed]) { peer, _ in
                let hello = peer.hello()
                try peer.wire.write(Array(hello.prefix(hello.count / 2)))
            },
            Attack("a handshake and no Finished", [.tlsFailed]) { peer, _ in
                try peer.wire.write(peer.hello())
                _ = try peer.wire.read()
            },
            Attack("a handshake byte by byte", [.tlsFailed]) { peer, _ in try slowly(peer.hello(), peer.wire) },
            Attack("an endless handshake message", [.tlsFailed, .protocolError]) { peer, _ in
                let record = [22, 3, 1, 0x40, 0] + [UInt8](repeating: 1, count: 0x4000)
                for index in 0..<40 { try peer.wire.write(index == 0 ? [22, 3, 1, 0, 4, 1, 1, 0, 0] : record) }
            },
            Attack("a hello, then garbage", [.tlsFailed]) { peer, _ in
                try peer.wire.write(peer.hello() + [UInt8](repeating: 0xa5, count: 5000))
            },
            Attack("a hello twice", [.tlsFailed]) { peer, _ in
                let hello = peer.hello()
                try peer.wire.write(hello + hello)
            },
            .secured("a handshake and nothing more", []) { _ in },
            .secured("a handshake and FIN", []) { $0.wire.finish() },
            .secured("a handshake and a reset", []) { $0.wire.reset() },
            .secured("a CONNECT byte by byte", [.protocolError]) { peer in
                for byte in Array("CONNECT 127.0.0.1:1 HTTP/1.1\r\n".utf8) {
                    try peer.wire.write(try peer.data([byte]))
                    usleep(50_000)
                }
            },
            .secured("a giant header", [.protocolError]) { peer in
                try peer.wire.write(try peer.data("CONNECT 127.0.0.1:1 HTTP/1.1\r\nx: "))
                for _ in 0..<40 { try peer.wire.write(try peer.data(String(repeating: "y", count: 1000))) }
            },
            .secured("a thousand headers", [.protocolError]) { peer in
                try peer.wire.write(try peer.data("CONNECT 127.0.0.1:1 HTTP/1.1\r\n"))
                try peer.wire.write(try peer.data(String(repeating: "a: b\r\n", count: 1000) + "\r\n"))
            },
            .secured("no HTTP", [.protocolError]) { try $0.wire.write(try $0.data([0, 1, 2, 13, 10])) },
            .secured("another address", [.unknownDestination]) {
                try $0.wire.write(try $0.data("CONNECT 10.9.8.7:1 HTTP/1.1\r\nHost: 10.9.8.7:1\r\n\r\n"))
            },
            .connected("bytes that are no record", [.protocolError]) {
                try $0.wire.write([UInt8](repeating: 0x47, count: 100))
            },
            .connected("a forged record", [.protocolError]) {
                var record = try $0.data("hello")
                record[8] ^= 1
                try $0.wire.write(record)
            },
            .connected("a record again", [.protocolError]) {
                let record = try $0.data("hello")
                try $0.wire.write(record + record)
            },
            .connected("records out of order", [.protocolError]) {
                let (first, second) = (try $0.data("one"), try $0.data("two"))
                try $0.wire.write(second + first)
            },
            .connected("a record left out", [.protocolError]) {
                _ = try $0.data("one")
                try $0.wire.write(try $0.data("two"))
            },
            .connected("a record cut short, then FIN", [.tunnelReset]) {
                let record = try $0.data("hello")
                try $0.wire.write(Array(record.prefix(record.count - 1)))
                $0.wire.finish()
            },
            .connected("FIN without close_notify", [.tunnelReset]) {
                try $0.wire.write(try $0.data("hello"))
                $0.wire.finish()
            },
            .connected("a record too long", [.protocolError]) {
                try $0.wire.write([23, 3, 3, 0x41, 1] + [UInt8](repeating: 7, count: 0x4101))
            },
            .connected("too much content in a record", [.protocolError]) {
                try $0.wire.write(try $0.record(0, [UInt8](repeating: 7, count: 16385) + [23]))
            },
            .connected("nothing but padding", [.protocolError]) {
                try $0.wire.write(try $0.record(0, [UInt8](repeating: 0, count: 1000)))
            },
            .connected("a record in clear", [.protocolError]) { try $0.wire.write([22, 3, 3, 0, 1, 0]) },
            .connected("a ClientHello inside", [.protocolError]) {
                try $0.wire.write(try $0.record(22, [1, 0, 0, 1, 0]))
            },
            .connected("endless empty records", [.protocolError]) { peer in
                for _ in 0..<200 { try peer.wire.write(try peer.data([])) }
            },
            .connected("endless padded empty records", [.protocolError]) { peer in
                for _ in 0..<200 { try peer.wire.write(try peer.record(0, [23] + [UInt8](repeating: 0, count: 999))) }
            },
            .connected("endless warnings", [.protocolError]) { peer in
                for _ in 0..<200 { try peer.wire.write(try peer.record(21, [1, 90])) }
            },
            .connected("a malformed alert", [.protocolError]) { try $0.wire.write(try $0.record(21, [1])) },
            .connected("a fatal alert", [.tlsFailed]) { try $0.wire.write(try $0.record(21, [2, 80])) },
            .connected("endless KeyUpdates", [.protocolError]) { peer in
                for _ in 0..<200 { try peer.wire.write(try peer.keyUpdate()) }
            },
            .connected("two KeyUpdates in a record", [.protocolError]) {
                try $0.wire.write(try $0.record(22, [24, 0, 0, 1, 1, 24, 0, 0, 1, 1]))
            },
            .connected("endless tickets", [.protocolError]) { peer in
                for _ in 0..<200 { try peer.wire.write(try peer.record(22, [4, 0, 0, 2, 1, 1])) }
            },
            .connected("an unknown type", [.protocolError]) { try $0.wire.write(try $0.record(99, [1, 2, 3])) },
        ]
    }

    @Test func `whatever a peer sends, its connection ends with a reason and no other notices`() async throws {
        let ground = try await Ground()
        let tunnel = try #require(ground.mesh.b.proxy.tunnelEndpoint)
        for attack in Self.attacks() {
            let comment: Comment = "\(attack.name)"
            let before = ground.mesh.b.closedRecords.count
            let (identity, address) = (ground.identity, ground.app.address)
            let ending = try await onThread {
                // A peer that cannot go on because it was thrown out has had its answer.
                let peer = try HostilePeer(to: tunnel, as: identity)
                do { try attack.run(peer, address) } catch {}
                return peer.wire.endingError()
            }
            #expect(ending != ETIMEDOUT, comment)
            if attack.reasons.isEmpty {
                try await ground.checkNeighbour(comment)
                try await ground.settle(comment)
                // It may have gone before this side's part of the handshake was over.
                let told = ground.mesh.b.closedRecords.dropFirst(before)
                #expect(told.allSatisfy { $0.reason == .tlsFailed || $0.reason == .tunnelReset }, comment)
                continue
            }
            let records = try await ground.mesh.b.closed(before + 1)
            #expect(records.count == before + 1, comment)
            let last = try #require(ground.mesh.b.closedRecords.last)
            #expect(attack.reasons.contains(try #require(last.reason)), "\(attack.name): \(last.detail ?? "")")
            #expect(last.detail?.isEmpty == false, comment)
            try await ground.checkNeighbour(comment)
            try await ground.settle(comment)
        }
    }

    @Test(
        arguments: [
            "", ".", String(repeating: "x", count: 255), String(repeating: "a.", count: 127), "server.prod",
            "SERVER.PROD.WORKLOAD.MESH.INTERNAL.", "*.prod.workload.mesh.internal", "server\u{7f}", "sérver",
            "server.prod.workload.mesh.internal:15008",
        ]) func `a server name that is no workload's gets nowhere`(name: String) async throws
    {
        let ground = try await Ground()
        let tunnel = try #require(ground.mesh.b.proxy.tunnelEndpoint)
        let identity = ground.identity
        _ = try await onThread {
            let peer = try HostilePeer(to: tunnel, as: identity, name: name)
            #expect(throws: (any Error).self) { try peer.secure() }
            return peer.wire.endingError()
        }
        let reason = try await ground.mesh.b.closed(1)[0].reason
        #expect(reason == .unknownDestination || reason == .tlsFailed)
        try await ground.checkNeighbour("\(name)")
    }

    @Test func `a truncated tunnel is a reset for the application, never an end`() async throws {
        let ground = try await Ground()
        let endings = Endings()
        let app = try App { wire in endings.add(wire.endingError()) }
        let tunnel = try #require(ground.mesh.b.proxy.tunnelEndpoint)
        let identity = ground.identity
        for isReset in [false, true] {
            try await onThread {
                let peer = try HostilePeer(to: tunnel, as: identity)
                try peer.secure()
                _ = try peer.connect(app.address)
                try peer.wire.write(try peer.data("all of it?"))
                if isReset { peer.wire.reset() } else { peer.wire.finish() }
                _ = peer.wire.endingError()
            }
        }
        #expect(try await endings.wait(2) == [ECONNRESET, ECONNRESET])
    }

    @Test func `many that never finish are all thrown out, and others get in`() async throws {
        let ground = try await Ground { $0.handshakeTimeout = .seconds(3) }
        let tunnel = try #require(ground.mesh.b.proxy.tunnelEndpoint)
        let (identity, count) = (ground.identity, 300)
        let peers = try await onThread {
            try (0..<count).map { index in
                let peer = try HostilePeer(to: tunnel, as: identity)
                let hello = peer.hello()
                try peer.wire.write(Array(hello.prefix(index % 3 == 0 ? hello.count : index % hello.count)))
                return peer
            }
        }
        try await ground.checkNeighbour("many")
        let (mesh, address) = (ground.mesh, ground.app.address)
        let wire = try mesh.dial(address)
        try wire.write("me too")
        #expect(try await onThread { try wire.read(exactly: 6) } == Array("me too".utf8))
        wire.finish()
        #expect(try await onThread { wire.endingError() } == 0)
        let records = try await mesh.b.closed(count + 1)
        #expect(records.count { $0.reason == .tlsFailed } == count)
        try await ground.settle("many")
        withExtendedLifetime(peers) {}
    }

    @Test func `a peer that asks for new keys all the time and reads nothing costs nothing more`() async throws {
        let ground = try await Ground()
        let app = try App { wire in
            while try !wire.read().isEmpty {}
        }
        let tunnel = try #require(ground.mesh.b.proxy.tunnelEndpoint)
        let identity = ground.identity
        let rounds = 3000
        try await onThread {
            let peer = try HostilePeer(to: tunnel, as: identity)
            try peer.secure()
            _ = try peer.connect(app.address)
            for _ in 0..<rounds {
                try peer.wire.write(try peer.keyUpdateWithWish() + peer.data("x"))
            }
            try peer.wire.write(try peer.record(21, [1, 0]))
            peer.wire.finish()
            _ = peer.wire.endingError()
        }
        let record = try await ground.mesh.b.closed(1)[0]
        #expect(record.reason == .completed && record.bytesSent == UInt64(rounds))
        try await ground.settle("keys")
    }
}

/// What several connections ended with.
private final class Endings: Sendable {
    private let list = Mutex<[CInt]>([])

    func add(_ code: CInt) { self.list.withLock { $0.append(code) } }

    func wait(_ count: Int) async throws -> [CInt] {
        for _ in 0..<1500 where self.list.withLock({ $0.count }) < count {
            try await Task.sleep(for: .milliseconds(10))
        }
        return self.list.withLock { $0 }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Foundation
import MeshIdentity
import MeshModel
import Testing

@testable import MeshTunnel

@Suite struct HandshakeTests {
    private let name = "server.prod.workload.mesh.internal"

    private func ends(
        client: TLSIdentity, server: TLSIdentity, expecting: SPIFFEID, name: String? = nil
    ) throws -> (MeshEnd, MeshEnd) {
        let acceptor = try TunnelAcceptor()
        let known = self.name
        return (
            MeshEnd(
                try TunnelHandshake(connectingAs: client, to: name ?? self.name, expecting: expecting)),
            MeshEnd(try TunnelHandshake(accepting: acceptor) { $0 == known ? .identity(server) : .unknown })
        )
    }

    @Test(arguments: [Int.max, 100, 1])
    func `both ends prove who they are, whatever the pieces`(chunk: Int) throws {
        let mesh = try TestAuthority()
        let (client, server) = (try mesh.identity("prod", "client"), try mesh.identity("prod", "server"))
        let (left, right) = try self.ends(client: client, server: server, expecting: server.id)
        shake(left, right, chunk: chunk)
        let (a, b) = (try #require(left.session), try #require(right.session))
        #expect(a.peer == server.id && a.local == client.id)
        #expect(b.peer == client.id && b.local == server.id)
        #expect(a.suite == .aes128GCM && b.suite == .aes128GCM)
        #expect(right.handshake.serverName == self.name)
        #expect(right.leftover.isEmpty)
        let (sender, receiver) = (Records(a), Records(b))
        // A ticket, which nobody asked for.
        #expect(try sender.open(left.leftover).isEmpty)
        let text = pattern(40000)
        #expect(try receiver.open(try sender.seal(text)) == text)
        #expect(try sender.open(try receiver.seal(text)) == text)
    }

    @Test func `data behind the client's Finished is left for the session`() throws {
        let mesh = try TestAuthority()
        let (client, server) = (try mesh.identity("prod", "client"), try mesh.identity("prod", "server"))
        let (left, right) = try self.ends(client: client, server: server, expecting: server.id)
        let hello = left.step([])
        let flight = right.step(hello)
        let finished = left.step(flight)
        let early = try Records(try #require(left.session)).seal(Array("early".utf8))
        _ = right.step(finished + early)
        #expect(try Records(try #require(right.session)).open(right.leftover) == Array("early".utf8))
    }

    @Test func `the client refuses another identity and names both`() throws {
        let mesh = try TestAuthority()
        let server = try mesh.identity("prod", "impostor")
        let (left, right) = try self.ends(
            client: try mesh.identity("prod", "client"), server: server, expecting: try mesh.id("prod", "server"))
        shake(left, right)
        let failure = try #require(left.failure)
        #expect(failure.code == .identityMismatch)
        #expect(failure.message.contains("spiffe://mesh.test/ns/prod/sa/impostor"))
        #expect(failure.message.contains("spiffe://mesh.test/ns/prod/sa/server"))
        #expect(right.session == nil)
        #expect(try #require(right.failure).message.contains("handshake_failure"))
    }

    @Test func `an unknown server name gets a fatal alert`() throws {
        let mesh = try TestAuthority()
        let server = try mesh.identity("prod", "server")
        let (left, right) = try self.ends(
            client: try mesh.identity("prod", "client"), server: server, expecting: server.id, name: "other.name")
        shake(left, right)
        #expect(try #require(right.failure).code == .unknownServerName)
        #expect(try #require(left.failure).message.contains("unrecognized_name"))
    }

    @Test func `a certificate that is not there yet parks the handshake`() throws {
        let mesh = try TestAuthority()
        let (client, server) = (try mesh.identity("prod", "client"), try mesh.identity("prod", "server"))
        let box = Box()
        let left = MeshEnd(try TunnelHandshake(connectingAs: client, to: self.name, expecting: server.id))
        let right = MeshEnd(
            try TunnelHandshake(accepting: try TunnelAcceptor()) { _ in
                box.identity.map { .identity($0) } ?? .wait
            })
        shake(left, right)
        #expect(right.isParked && right.session == nil)
        shake(left, right)
        #expect(right.isParked)
        box.identity = server
        shake(left, right)
        #expect(left.session != nil && right.session != nil)
    }

    private final class Box { var identity: TLSIdentity? }

    @Test func `expired certificates are refused in words`() throws {
        let mesh = try TestAuthority()
        let server = try mesh.identity("prod", "server")
        let expired = try mesh.identity("prod", "client", from: -5 * 86400)
        let (left, right) = try self.ends(client: expired, server: server, expecting: server.id)
        shake(left, right)
        let failure = try #require(right.failure)
        #expect(failure.code == .handshakeFailed && failure.message.contains("has expired"))
        #expect(failure.message.contains("spiffe://mesh.test/ns/prod/sa/client"))
        // The client was done before the server judged: its record layer gets the alert.
        let records = Records(try #require(left.session))
        let error = #expect(throws: TunnelError.self) { try records.open(left.leftover) }
        #expect(error?.code == .alert && error?.message.contains("certificate_expired") == true)
    }

    @Test func `another mesh's authority is refused in words`() throws {
        let (mesh, other) = (try TestAuthority(), try TestAuthority())
        let server = try other.identity("prod", "server")
        let (left, right) = try self.ends(
            client: try mesh.identity("prod", "client"), server: server, expecting: server.id)
        shake(left, right)
        #expect(try #require(left.failure).message.contains("unknown authority"))
        #expect(try #require(right.failure).message.contains("unknown_ca"))
    }

    @Test func `another trust domain is refused even when its authority is trusted`() throws {
        let (mesh, other) = (try TestAuthority(), try TestAuthority(trustDomain: "other.test"))
        let server = try mesh.identity("prod", "server", trusting: other)
        let client = try other.identity("prod", "client", trusting: mesh)
        let (left, right) = try self.ends(client: client, server: server, expecting: server.id)
        shake(left, right)
        #expect(try #require(left.failure).message.contains("another trust domain"))
        #expect(right.session == nil)
    }

    @Test func `what is no TLS is refused`() throws {
        let mesh = try TestAuthority()
        let server = try mesh.identity("prod", "server")
        for garbage in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", String(repeating: "\u{0}", count: 400)] {
            let end = MeshEnd(try TunnelHandshake(accepting: try TunnelAcceptor()) { _ in .identity(server) })
            _ = end.step(Array(garbage.utf8))
            #expect(end.failure?.code == .handshakeFailed)
        }
        // A record that promises the most, again and again.
        let endless = MeshEnd(try TunnelHandshake(accepting: try TunnelAcceptor()) { _ in .identity(server) })
        _ = endless.step([22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff] + pattern(300_000))
        #expect(endless.failure != nil)
    }

    @Test func `identities must be whole`() throws {
        let mesh = try TestAuthority()
        let id = try mesh.id("prod", "server")
        let (first, second) = (try mesh.certificate(id), try mesh.certificate(id))
        let root = try mesh.authority.rootPEM()
        func code(_ chain: String, _ key: String, _ bundle: String) -> TunnelError.Code? {
            do {
                _ = try TLSIdentity(certificateChainPEM: chain, privateKeyPEM: key, trustBundlePEM: bundle)
                return nil
            } catch { return error.code }
        }
        #expect(code(first.chain, first.key, root) == nil)
        #expect(code(first.chain, second.key, root) == .invalidIdentity)
        #expect(code("", first.key, root) == .invalidIdentity)
        #expect(code(first.chain, "", root) == .invalidIdentity)
        #expect(code(first.chain, first.key, "") == .invalidIdentity)
        #expect(code(root, first.key, root) == .invalidIdentity)
        let good = try TLSIdentity(certificateChainPEM: first.chain, privateKeyPEM: first.key, trustBundlePEM: root)
        #expect(abs(Double(good.notAfter) - Date().timeIntervalSince1970 - 3600) < 60)
    }

    @Test(
        arguments: [
            ([0, 6, 0, 0, 3, 97, 98, 99], "abc"), ([0, 6, 0, 0, 3, 65, 66, 67], "abc"), ([], nil),
            ([0, 6, 0, 0, 4, 97, 98, 99], nil), ([0, 7, 0, 0, 3, 97, 98, 99], nil), ([0, 6, 1, 0, 3, 97, 98, 99], nil),
            ([0, 6, 0, 0, 3, 97, 0, 99], nil), ([0, 6, 0, 0, 3, 97, 32, 99], nil), ([0, 3, 0, 0, 0], nil),
            ([0, 10, 0, 0, 3, 97, 98, 99, 0, 0, 1, 97], nil),
        ] as [([UInt8], String?)])
    func `server names are read strictly`(bytes: [UInt8], name: String?) {
        #expect(bytes.withUnsafeBytes { serverName($0) } == name)
    }
}

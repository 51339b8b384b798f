// SPDX-License-Identifier: Apache-2.0
import MeshIdentity
import MeshModel
import Testing

@testable import MeshTunnel

/// Our handshake and record layer against OpenSSL's own.
@Suite struct InteroperationTests {
    private let name = "server.prod.workload.mesh.internal"
    private static let suites = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]

    /// A session of ours, as client or server, with an OpenSSL peer.
    private func connect(
        asServer: Bool, _ options: OpenSSLEnd.Options = .init(), peerHasCertificate: Bool = true
    ) throws -> (MeshEnd, OpenSSLEnd) {
        let mesh = try TestAuthority()
        let mine = try mesh.identity("prod", asServer ? "server" : "client")
        let peerID = try mesh.id("prod", asServer ? "client" : "server")
        var options = options
        if asServer, options.serverName == nil { options.serverName = self.name }
        let peer = try OpenSSLEnd(
            isServer: !asServer, certificate: peerHasCertificate ? try mesh.certificate(peerID) : nil,
            root: try mesh.authority.rootPEM(), options: options)
        let end = MeshEnd(
            asServer
                ? try TunnelHandshake(accepting: try TunnelAcceptor()) { _ in .identity(mine) }
                : try TunnelHandshake(connectingAs: mine, to: self.name, expecting: peerID))
        shake(end, peer)
        return (end, peer)
    }

    @Test(arguments: Self.suites, [false, true])
    func `data, key updates and close pass both ways`(suite: String, asServer: Bool) throws {
        let (end, peer) = try self.connect(asServer: asServer, .init(suite: suite))
        let records = Records(try #require(end.session, "\(String(describing: end.failure)) \(peer.failure ?? "")"))
        _ = try records.open(end.leftover)
        for count in [1, 100, 16384, 70000] {
            #expect(try records.open(peer.write(pattern(count))) == pattern(count))
            #expect(peer.read(try records.seal(pattern(count, seed: 7))) == pattern(count, seed: 7))
        }
        // The peer changes its key and wants us to change ours.
        #expect(try records.open(peer.updateKey(requestingAnswer: true) + peer.write([1, 2, 3])) == [1, 2, 3])
        #expect(records.session.mustUpdateKey)
        #expect(peer.read(try records.keyUpdate() + records.seal([4, 5])) == [4, 5])
        #expect(!records.session.mustUpdateKey)
        #expect(try records.open(peer.updateKey(requestingAnswer: false) + peer.write([6])) == [6])
        #expect(!records.session.mustUpdateKey)
        // Half-close: our direction ends, the peer's goes on.
        #expect(peer.read(try records.closeNotify()).isEmpty)
        #expect(peer.hasReceivedShutdown)
        #expect(try records.open(peer.write([7, 8])) == [7, 8])
        #expect(try records.open(peer.shutdown()).isEmpty)
        #expect(records.isEnded)
    }

    @Test func `tickets are skipped and padding is taken off`() throws {
        let (end, peer) = try self.connect(asServer: false, .init(tickets: 4, padding: 512))
        let records = Records(try #require(end.session))
        #expect(try records.open(end.leftover + peer.write(pattern(1000))) == pattern(1000))
        #expect(peer.read(try records.seal(pattern(3000))) == pattern(3000))
    }

    @Test func `a client without a certificate is refused in words`() throws {
        let (end, _) = try self.connect(asServer: true, peerHasCertificate: false)
        let failure = try #require(end.failure)
        #expect(failure.code == .handshakeFailed && failure.message.contains("no certificate"))
    }

    @Test func `a peer that does not speak the tunnel protocol is refused`() throws {
        let (asServer, _) = try self.connect(asServer: true, .init(protocols: [2] + Array("h2".utf8)))
        #expect(asServer.failure != nil)
        let (without, _) = try self.connect(asServer: true, .init(protocols: nil))
        #expect(without.failure?.message.contains("ALPN") == true)
    }
}

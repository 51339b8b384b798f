// SPDX-License-Identifier: Apache-2.0
import MeshModel
import Testing

@testable import MeshTunnel

@Suite struct ResumptionTests {
    private let name = "server.prod.workload.mesh.internal"
    private let mesh: TestAuthority
    private let client: TLSIdentity
    private let server: TLSIdentity
    private let acceptor: TunnelAcceptor

    init() throws {
        self.mesh = try TestAuthority()
        self.client = try self.mesh.identity("prod", "client")
        self.server = try self.mesh.identity("prod", "server")
        self.acceptor = try TunnelAcceptor()
    }

    private struct Pair {
        let left: MeshEnd
        let right: MeshEnd
        let client: Records
        let server: Records
        let ticket: ResumableSession?
        /// Bytes of the server's handshake.
        let bytes: Int
    }

    private func connect(
        resuming session: ResumableSession? = nil, client: TLSIdentity? = nil, server: TLSIdentity? = nil,
        acceptor: TunnelAcceptor? = nil
    ) throws -> Pair {
        let identity = server ?? self.server
        let dialling = try TunnelHandshake(
            connectingAs: client ?? self.client, to: self.name, expecting: identity.id, resuming: session)
        let box = Box()
        dialling.onTicket = { box.ticket = $0 }
        let left = MeshEnd(dialling)
        let right = MeshEnd(try TunnelHandshake(accepting: acceptor ?? self.acceptor) { _ in .identity(identity) })
        let flight = right.step(left.step([]))
        let ticket = right.step(left.step(flight))
        let (a, b) = (try #require(left.session), try #require(right.session))
        let (sender, receiver) = (Records(a), Records(b))
        #expect(try sender.open(ticket) == [])
        return Pair(
            left: left, right: right, client: sender, server: receiver, ticket: box.ticket, bytes: flight.count)
    }

    private final class Box { var ticket: ResumableSession? }

    private func exchange(_ pair: Pair) throws {
        let text = pattern(40000)
        #expect(try pair.server.open(try pair.client.seal(text)) == text)
        #expect(try pair.client.open(try pair.server.seal(text)) == text)
    }

    @Test func `a second handshake needs no certificates and knows the same peers`() throws {
        let first = try self.connect()
        try self.exchange(first)
        #expect(first.client.session.isResumed == false && first.server.session.isResumed == false)
        let ticket = try #require(first.ticket)
        let second = try self.connect(resuming: ticket)
        try self.exchange(second)
        #expect(second.client.session.isResumed && second.server.session.isResumed)
        #expect(second.bytes < first.bytes / 2)
        for pair in [first, second] {
            #expect(pair.client.session.peer == self.server.id && pair.client.session.local == self.client.id)
            #expect(pair.server.session.peer == self.client.id && pair.server.session.local == self.server.id)
            #expect(pair.client.session.notAfter == pair.server.session.notAfter)
        }
    }

    @Test func `a ticket may be used again and is not replaced`() throws {
        let ticket = try #require(try self.connect().ticket)
        for _ in 0..<3 {
            let pair = try self.connect(resuming: ticket)
            #expect(pair.server.session.isResumed && pair.ticket == nil)
            try self.exchange(pair)
        }
    }

    @Test func `a new certificate of the server ends what the old one began`() throws {
        let ticket = try #require(try self.connect().ticket)
        let pair = try self.connect(resuming: ticket, server: try self.mesh.identity("prod", "server"))
        #expect(!pair.client.session.isResumed && !pair.server.session.isResumed)
        try self.exchange(pair)
    }

    @Test func `a server that was restarted makes a full handshake`() throws {
        let ticket = try #require(try self.connect().ticket)
        let pair = try self.connect(resuming: ticket, acceptor: try TunnelAcceptor())
        #expect(!pair.client.session.isResumed)
        #expect(pair.ticket != nil)
        try self.exchange(pair)
    }

    @Test func `a session does not make another identity of its peer`() throws {
        let ticket = try #require(try self.connect().ticket)
        let other = try self.mesh.id("prod", "other")
        let left = MeshEnd(
            try TunnelHandshake(connectingAs: self.client, to: self.name, expecting: other, resuming: ticket))
        let server = self.server
        let right = MeshEnd(try TunnelHandshake(accepting: self.acceptor) { _ in .identity(server) })
        shake(left, right)
        #expect(try #require(left.failure).code == .identityMismatch)
    }

    @Test func `a session ends with the certificates it rests on`() throws {
        let short = try self.mesh.identity("prod", "client", validity: 120)
        let pair = try self.connect(client: short)
        let ticket = try #require(pair.ticket)
        #expect(ticket.notAfter <= short.notAfter)
        #expect(pair.server.session.notAfter == short.notAfter)
        // The server's own copy ends then too.
        #expect(try #require(try self.connect().ticket).notAfter > short.notAfter)
    }

    @Test func `a stream end leaves the next connection's bytes alone`() throws {
        let pair = try self.connect()
        pair.client.session.isReusable = true
        pair.server.session.isReusable = true
        let first = try pair.client.seal(Array("one".utf8))
        let end = try pair.client.streamEnd()
        let next = try pair.client.seal(Array("two".utf8))
        #expect(try pair.server.open(first + end + next) == Array("one".utf8))
        #expect(pair.server.isStreamEnded)
        #expect(try pair.server.open([]) == Array("two".utf8))
    }

    @Test func `without an agreement an empty record says nothing`() throws {
        let pair = try self.connect()
        let bytes = try pair.client.streamEnd() + pair.client.seal(Array("on".utf8))
        #expect(try pair.server.open(bytes) == Array("on".utf8))
        #expect(!pair.server.isStreamEnded && !pair.server.isEnded)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import MeshProxy

@Suite struct RelayBalanceTests {
    private typealias Position = RelayBalance.Position

    /// 100 bytes went up, of which 30 are between the sockets, and 50 down. TCP's own counts begin elsewhere.
    private let balance = RelayBalance(
        up: .init(read: 1100, written: 571, between: 30, delivered: 70),
        down: .init(read: 2050, written: 8050, between: 0, delivered: 50))

    private func client(read: UInt64 = 1100, written: UInt64 = 8050) -> Position {
        Position(read: read, written: written)
    }

    private func server(read: UInt64 = 2050, written: UInt64 = 571) -> Position {
        Position(read: read, written: written)
    }

    @Test func `nothing has moved`() {
        #expect(self.balance.find(self.client(), self.server(), inPipes: (30, 0)) == .whole(up: 70, down: 50))
    }

    @Test func `bytes that are in the pipe are not lost`() {
        let finding = self.balance.find(self.client(read: 1600), self.server(written: 971), inPipes: (130, 0))
        #expect(finding == .whole(up: 470, down: 50))
    }

    @Test(arguments: [(0, 0), (29, 0), (31, 0), (30, 1), (0, 30)])
    func `bytes that are nowhere are lost`(pipes: (Int, Int)) {
        #expect(self.balance.find(self.client(), self.server(), inPipes: pipes) == .lost)
    }

    @Test func `each direction counts for itself`() {
        // As many too few one way as too many the other way.
        #expect(
            self.balance.find(self.client(read: 1101), self.server(read: 2049), inPipes: (30, 0)) == .lost)
    }

    @Test func `counts wrap`() {
        let balance = RelayBalance(
            up: .init(read: .max, written: .max &- 1, between: 1, delivered: 9),
            down: .init(read: 0, written: .max, between: 0, delivered: 0))
        #expect(
            balance.find(
                Position(read: 4, written: 1), Position(read: 2, written: 2), inPipes: (2, 0))
                == .whole(up: 13, down: 2))
    }

    @Test func `a balance that nobody can have is no reason to count from anywhere`() {
        var balance = self.balance
        balance.up.base = .max - 600
        #expect(balance.find(self.client(), self.server(), inPipes: (30, 0)) == .lost)
    }

    @Test func `a closed socket ends both`() {
        var closed = self.client()
        closed.isOpen = false
        #expect(self.balance.find(closed, self.server(), inPipes: (30, 0)) == .closed)
    }

    @Test func `the kernel may still be sealing what it took`() {
        var tunnel = self.server(written: 561)
        tunnel.isTunnel = true
        #expect(self.balance.find(self.client(), tunnel, inPipes: (30, 0)) == .pending)
        tunnel.written = 581
        #expect(self.balance.find(self.client(), tunnel, inPipes: (30, 0)) == .lost)
    }

    @Test func `close_notify is no payload`() {
        // Into the tunnel, behind which FIN was sent.
        var tunnel = self.server(written: 603)
        (tunnel.isTunnel, tunnel.isEndSent) = (true, true)
        #expect(self.balance.find(self.client(), tunnel, inPipes: (0, 0)) == .whole(up: 100, down: 50))
        // Out of it, whereupon the client got FIN.
        tunnel = self.server(read: 2052)
        tunnel.isTunnel = true
        var client = self.client()
        client.isEndSent = true
        #expect(self.balance.find(client, tunnel, inPipes: (30, 0)) == .whole(up: 70, down: 50))
        // Without a tunnel there is none.
        #expect(self.balance.find(client, self.server(read: 2052), inPipes: (30, 0)) == .lost)
    }
}

@Suite struct KernelTunnelPositionTests {
    @Test func `content and TCP's bytes tell the same position`() {
        var account = WireAccount(firstSequence: 7, firstBytes: 5000)
        account.took(300)
        // Three records of content, each with a header, a type and a tag.
        #expect(WireAccount.content(ofBytes: 5000 + 300 + 3 * 22, records: 10) == account.position)
        account.resume(at: WireAccount.content(ofBytes: 5000 + 450 + 5 * 22, records: 12))
        #expect(account.content == 450)
        #expect(account.isComplete(sequence: 12, bytes: 5000 + 450 + 5 * 22))
    }
}

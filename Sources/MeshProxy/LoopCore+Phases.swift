// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshModel

/// Noting how long the steps of making a connection take, and how its way to the peer is. None of this runs for each
/// byte: a step is noted once, TCP is asked when a connection ends and when somebody asks for all of them.
extension LoopCore {
    /// It is known whose connection it is and what its client dialled.
    func noteIdentified(_ connection: Connection) {
        connection.record.phases.set(.capture, nanoseconds: Clock.monotonic &- connection.began)
    }

    /// The decision where it goes begins.
    func noteResolving(_ connection: Connection) { connection.setup?.resolveBegan = Clock.monotonic }

    /// It was decided, or cannot be.
    func noteResolved(_ connection: Connection) {
        guard let setup = connection.setup, setup.resolveBegan != 0 else { return }
        connection.record.phases.add(.policy, nanoseconds: Clock.monotonic &- setup.resolveBegan)
        setup.resolveBegan = 0
    }

    /// It begins to wait for a certificate.
    func noteParked(_ connection: Connection) {
        self.noteResolved(connection)
        guard let setup = connection.setup, setup.parkedSince == 0 else { return }
        setup.parkedSince = Clock.monotonic
    }

    /// It does not wait any more.
    func noteUnparked(_ connection: Connection) {
        guard let setup = connection.setup, setup.parkedSince != 0 else { return }
        connection.record.phases.add(.certificate, nanoseconds: Clock.monotonic &- setup.parkedSince)
        setup.parkedSince = 0
    }

    /// A TLS handshake begins.
    func noteSecuring(_ connection: Connection) { connection.setup?.handshakeBegan = Clock.monotonic }

    func noteSecured(_ connection: Connection) {
        guard let setup = connection.setup, setup.handshakeBegan != 0 else { return }
        connection.record.phases.set(.tls, nanoseconds: Clock.monotonic &- setup.handshakeBegan)
        setup.handshakeBegan = 0
    }

    /// What follows is relayed.
    ///
    /// - Parameter early: bytes of the client that went out with the CONNECT.
    func noteRelaying(_ connection: Connection, early: Int) {
        connection.record.phases.set(.setup, nanoseconds: Clock.monotonic &- connection.began)
        guard early > 0, let setup = connection.setup else { return }
        // The clock of the CONNECT.
        let sent = setup.attemptBegan > connection.began ? setup.attemptBegan - connection.began : 0
        connection.record.phases.set(.firstByteSent, nanoseconds: sent)
    }

    /// The first bytes that were read from a side have moved.
    @inline(never)
    func noteFirstByte(_ index: UInt32, _ connection: Connection) {
        connection.record.phases.set(
            index & 1 == 0 ? .firstByteSent : .firstByteReceived,
            nanoseconds: Clock.monotonic &- connection.began)
    }

    /// Whether the trace of a new connection is one of those that are sampled.
    func isSampled() -> Bool {
        let share = self.configuration.traceSampling
        return share > 0 && Double(self.random.next() >> 11) * 0x1p-53 < share
    }

    // MARK: - TCP

    /// What the kernel knows of the way to the peer node, or to the server.
    func peerPath(_ connection: Connection) -> Linux.PathInfo? {
        let isTunnelled = self.sides[connection.index].pointee.flags.contains(.tunnel)
        let fd = self.sides[isTunnelled ? connection.index : connection.server].pointee.fd
        return fd < 0 ? nil : Linux.pathInfo(fd)
    }

    /// As what telemetry says: since the connection began, though its tunnel may be older.
    func health(_ connection: Connection, _ path: Linux.PathInfo) -> TCPHealth {
        TCPHealth(
            smoothedRTT: path.smoothedRTT, leastRTT: path.leastRTT == .max ? 0 : path.leastRTT,
            sentSegments: path.sent &- min(path.sent, connection.tcpBase.sent),
            retransmittedSegments: path.retransmitted &- min(path.retransmitted, connection.tcpBase.retransmitted))
    }
}

// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc
import MeshLinux
import MeshModel
import MeshTunnel

/// Moving bytes. Nothing here allocates, locks, waits or logs per byte; each call moves a bounded amount.
///
/// Sockets are watched edge-triggered, so a flow is pumped until it would block, its share of the turn is used up (then
/// the connection goes to the ready list), or the stream has ended. A short read means "empty" only as long as no FIN
/// was announced: after that every read goes on to 0.
extension LoopCore {
    /// Steps per flow and turn: of 64 KiB when copied, a pipe when spliced, a batch when sealed or opened.
    static let steps = 8
    /// Read at once when bytes are copied.
    static let copySize = 64 << 10
    /// A read of this size says that bytes come in bulk, and splicing begins.
    static let bulk = 16 << 10
    /// Splicing ends when a turn moved less.
    static let trickle = 8 << 10

    /// Pumps both directions of a connection.
    func relay(_ connection: Connection) {
        let (client, server) = (connection.index, connection.server)
        self.blocks.owner = connection.traffic.owner
        self.pipes.owner = connection.traffic.owner
        defer {
            self.blocks.owner = 0
            self.pipes.owner = 0
        }
        do throws(RelayFailure) {
            var hasMore = try self.pump(client, connection)
            if try self.pump(server, connection) { hasMore = true }
            // The second direction may have received a wish that the first has to answer.
            if let session = connection.session, session.mustUpdateKey {
                if try self.pump(client, connection) { hasMore = true }
            }
            if hasMore { self.makeReady(connection) }
        } catch {
            self.relayBroke(connection, error)
            return
        }
        let (up, down) = (self.sides[client].pointee.flags, self.sides[server].pointee.flags)
        if up.contains(.flushed) || down.contains(.flushed) || up.contains(.failed) || down.contains(.failed) {
            self.considerEnd(connection, up, down)
        }
    }

    private func considerEnd(_ connection: Connection, _ up: Side.Flags, _ down: Side.Flags) {
        if up.contains(.flushed), down.contains(.flushed) {
            self.close(connection, .completed)
            return
        }
        for (index, flags) in [(connection.index, up), (connection.server, down)]
        where flags.contains(.failed) && (flags.contains(.ended) || self.isHeldUp(index)) {
            // Its stream had ended in order, so no read will ever report this; or the other side does not read, so none
            // will for a long time, and a reset is no byte that waits for its turn.
            let code = Linux.socketError(self.sides[index].pointee.fd)
            if code == 0 {
                self.sides[index].pointee.flags.remove(.failed)
                continue
            }
            self.relayBroke(connection, .write(index, SystemError(call: "poll", errno: code)))
            return
        }
        if !connection.isHalfClosed, up.contains(.flushed) || down.contains(.flushed) {
            connection.isHalfClosed = true
            if let limit = self.quietLimit(connection) { self.setDeadline(connection, after: limit) }
        }
    }

    /// Bytes from that side wait for the other side to take them.
    private func isHeldUp(_ index: UInt32) -> Bool {
        let side = self.sides[index]
        if side.pointee.bytesInPipe > 0 { return true }
        guard let block = side.pointee.block else { return false }
        return block.pointee.hasBytes || block.pointee.hasRanges
    }

    private func relayBroke(_ connection: Connection, _ failure: RelayFailure) {
        let (reason, text) = self.explain(failure)
        switch failure {
        case .write(let index, _):
            self.sides[index].pointee.flags.insert(.broken)
            // What that side had sent before it broke is still its word: an early answer followed by a reset.
            _ = try? self.pump(index, connection)
        case .tunnel(let error):
            if error.code == .recordForged || error.code == .protocolViolation {
                self.sendAlert(error, connection)
            }
        case .read: break
        }
        connection.record.detail = text
        self.close(connection, reason)
    }

    /// Tells the peer node what was wrong with its bytes, if its socket takes that at once.
    private func sendAlert(_ error: TunnelError, _ connection: Connection) {
        let isClient = self.sides[connection.index].pointee.flags.contains(.tunnel)
        let index = isClient ? connection.index : connection.server
        let alert: UInt8 = error.code == .recordForged ? 20 : 10
        if connection.kernel != nil {
            _ = try? Linux.sendTLSRecord(self.sides[index].pointee.fd, type: RecordLayout.alert, [2, alert])
            return
        }
        guard let session = connection.session else { return }
        // Behind half a record an alert could not be read.
        guard self.sides[index ^ 1].pointee.block?.pointee.hasBytes != true else { return }
        let block = self.blocks.takeSmall()
        defer { self.blocks.give(block) }
        guard let count = try? session.sealAlert(alert, block.pointee.base, pool: &self.contexts) else { return }
        _ = try? Linux.send(self.sides[index].pointee.fd, block.pointee.base, count)
    }

    /// A failure as a close reason and a text.
    func explain(_ failure: RelayFailure) -> (CloseReason, String) {
        switch failure {
        case .read(let index, let error), .write(let index, let error):
            (self.reason(forFailureOf: index, error), error.description)
        case .tunnel(let error):
            (error.closeReason, error.message)
        }
    }

    /// Moves bytes from a side to the other one.
    ///
    /// - Returns: whether more could be moved at once.
    @inline(__always)
    func pump(_ index: UInt32, _ connection: Connection) throws(RelayFailure) -> Bool {
        let source = self.sides[index]
        if source.pointee.flags.contains(.flushed) { return false }
        let before = source.pointee.bytes
        defer {
            if source.pointee.bytes != before {
                connection.activity = self.now
                if before == 0 { self.noteFirstByte(index, connection) }
            }
        }
        if source.pointee.flags.contains(.metered) { return try self.pumpMetered(index, connection) }
        return try self.pumpUnmetered(index, connection)
    }

    @inline(__always)
    func pumpUnmetered(_ index: UInt32, _ connection: Connection) throws(RelayFailure) -> Bool {
        let source = self.sides[index]
        if let kernel = connection.kernel {
            return source.pointee.flags.contains(.tunnel)
                ? try self.pumpOutOfKernel(index, kernel) : try self.pumpIntoKernel(index, kernel, connection)
        }
        guard let session = connection.session else { return try self.pumpPlain(index) }
        return source.pointee.flags.contains(.tunnel)
            ? try self.pumpOpening(index, session) : try self.pumpSealing(index, session)
    }
}

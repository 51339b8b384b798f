// SPDX-License-Identifier: Apache-2.0
import MeshLinux

/// Keeping copies of what the kernel can carry over the death of this process: relays of which no key and no byte is here
/// but in passing, and the pipes. What was in passing at that moment shows in ``RelayBalance``.
///
/// Copies keep sockets open, so a kept one has to be severed, not just closed.
extension LoopCore {
    /// Places that one turn looks at: each relay there costs some system calls.
    private static let placesPerKeep: UInt32 = 64
    /// How often a relay is tried that cannot be measured.
    private static let keepAttempts: UInt8 = 60

    /// What some places hold to be kept, with copies of the descriptors.
    struct Kept: Sendable {
        var relays: [CarriedConnection] = []
        /// Relays for which there was no room, or no descriptor.
        var left = 0
        /// Where to go on; nil: that was all.
        var next: UInt32?
    }

    /// Whether another look at some places would find anything else to be kept than the last one.
    func survey(from: UInt32) -> (isChanged: Bool, next: UInt32?) {
        if self.keeping.hasLost || self.keeping.pipes != self.pipes.newest { return (true, nil) }
        let age = self.configuration.keepAge.nanoseconds
        let end = min(from + Self.placesPerLook, UInt32(self.sides.capacity))
        for index in stride(from: from, to: end, by: 2) {
            guard let connection = self.sides[index].pointee.connection?.takeUnretainedValue(),
                connection.balance == nil, self.isKeepable(connection, age)
            else { continue }
            return (true, nil)
        }
        return (false, end < UInt32(self.sides.capacity) ? end : nil)
    }

    /// - Parameter room: relays that may be kept of those at these places.
    func keep(from: UInt32, room: Int) -> Kept {
        var kept = Kept()
        let age = self.configuration.keepAge.nanoseconds
        let end = min(from + Self.placesPerKeep, UInt32(self.sides.capacity))
        for index in stride(from: from, to: end, by: 2) {
            guard let connection = self.sides[index].pointee.connection?.takeUnretainedValue(),
                self.isKeepable(connection, age)
            else { continue }
            if kept.relays.count < room, let relay = self.keep(connection) {
                kept.relays.append(relay)
            } else if connection.keepAttempts == 0 {
                kept.left += 1
            }
        }
        kept.next = end < UInt32(self.sides.capacity) ? end : nil
        return kept
    }

    /// Copies of the loop's pipes and of its ledger of them; nil: there are no descriptors left.
    func keepPipes() -> KeptPipes? {
        self.keeping = Keeping(pipes: self.pipes.newest)
        do throws(SystemError) { return try KeptPipes(self.pipes) } catch { return nil }
    }

    /// - Parameter age: nanoseconds that it must have lasted.
    private func isKeepable(_ connection: Connection, _ age: UInt64) -> Bool {
        // One that came from another process was old enough there.
        let isOld =
            self.now &- connection.began >= age || self.sides[connection.index].pointee.flags.contains(.kept)
        guard case .relaying = connection.machine.state, !connection.isQuiet, connection.session == nil,
            connection.setup == nil, isOld, connection.keepAttempts < Self.keepAttempts
        else { return false }
        if let kernel = connection.kernel, kernel.receipts == nil { return false }
        for index in [connection.index, connection.server] {
            let side = self.sides[index]
            guard side.pointee.fd >= 0, side.pointee.flags.isDisjoint(with: [.urgent, .broken, .failed]) else {
                return false
            }
            if let block = side.pointee.block?.pointee, block.hasRanges || block.tailCount > 0 { return false }
        }
        return true
    }

    private func keep(_ connection: Connection) -> CarriedConnection? {
        let carried = CarriedConnection(.relaying, origin: connection.machine.origin, record: connection.record)
        do throws(SystemError) {
            let balance = if let known = connection.balance { known } else { try self.balance(of: connection) }
            connection.balance = balance
            carried.balance = balance
            carried.client.descriptor = try Linux.duplicate(self.sides[connection.index].pointee.fd)
            carried.server.descriptor = try Linux.duplicate(self.sides[connection.server].pointee.fd)
        } catch {
            if connection.balance == nil { connection.keepAttempts += 1 }
            return nil
        }
        self.describe(connection, in: carried)
        carried.workload = connection.workload?.id ?? connection.adopted?.workload
        carried.destination = nil
        carried.kernel = connection.kernel
        for index in [connection.index, connection.server] {
            self.sides[index].pointee.flags.insert(.kept)
        }
        carried.client.flags = self.sides[connection.index].pointee.flags.intersection(.tunnel)
        carried.server.flags = self.sides[connection.server].pointee.flags.intersection(.tunnel)
        return carried
    }

    private func balance(of connection: Connection) throws(SystemError) -> RelayBalance {
        let client = try self.position(connection.index, connection.kernel)
        let server = try self.position(connection.server, connection.kernel)
        return RelayBalance(
            up: self.flow(connection.index, read: client.read, written: server.written),
            down: self.flow(connection.server, read: server.read, written: client.written))
    }

    private func flow(_ index: UInt32, read: UInt64, written: UInt64) -> RelayBalance.Flow {
        let side = self.sides[index]
        // What is in a block counts as delivered already.
        let inBlock = side.pointee.block.map { $0.pointee.end - $0.pointee.start } ?? 0
        return RelayBalance.Flow(
            read: read, written: written, between: Int(side.pointee.bytesInPipe) + inBlock,
            delivered: side.pointee.bytes &- UInt64(inBlock) &- UInt64(side.pointee.spilled))
    }

    /// Of a tunnel by what was given to the kernel and taken from it: TCP may not have seen it yet.
    private func position(_ index: UInt32, _ kernel: KernelTunnel?) throws(SystemError) -> RelayBalance.Position {
        let side = self.sides[index]
        guard side.pointee.flags.contains(.tunnel), let kernel, let receipts = kernel.receipts else {
            return RelayBalance.Position(try Linux.streamCounts(side.pointee.fd))
        }
        let isEnded = side.pointee.flags.contains(.ended)
        return RelayBalance.Position(
            read: receipts.position &- (isEnded ? RelayBalance.closeNotify : 0),
            written: kernel.account.position &- (kernel.isCloseSent ? RelayBalance.closeNotify : 0), isTunnel: true)
    }
}

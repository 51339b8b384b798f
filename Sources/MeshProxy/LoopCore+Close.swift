// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import Synchronization

extension LoopCore {
    /// Ends a connection in whatever state it is, exactly once: with FIN when it is completed, else with resets.
    func close(_ connection: Connection, _ reason: CloseReason) {
        self.perform(connection.machine.ended(reason), connection)
    }

    /// Gives everything back and tells the daemon. The machine is closed already.
    func finish(_ connection: Connection, _ reason: CloseReason) {
        let path = connection.setup == nil && !connection.isQuiet ? self.peerPath(connection) : nil
        self.noteResolved(connection)
        self.noteUnparked(connection)
        if let path {
            connection.record.tcp = self.health(connection, path)
            // Where the tunnel's next connection begins.
            connection.tcpBase = (path.sent, path.retransmitted)
        }
        self.releaseTraffic(connection, reason, path)
        if case .completed = reason { self.recycle(connection) }
        self.noLongerMade(connection)
        if connection.isQuiet {
            self.quietCount -= 1
            connection.destination?.idle.removeAll { $0 === connection }
        }
        var record = self.present(connection)
        record.reason = reason
        let isOrderly: Bool
        if case .completed = reason { isOrderly = true } else { isOrderly = connection.setup?.isRefusalSent ?? false }
        self.closeSide(connection.index, isOrderly: isOrderly)
        self.closeSide(connection.server, isOrderly: isOrderly)
        connection.setup = nil
        connection.session = nil
        connection.kernel = nil
        if connection.isParked { self.parked.removeAll { $0 === connection } }
        for index in [connection.index, connection.server] {
            self.sides[index].pointee.bytes = 0
            self.sides[index].pointee.connection?.release()
            self.sides[index].pointee.connection = nil
        }
        self.sides.give(connection.index)
        self.settings.connectionCount.subtract(1, ordering: .relaxed)
        connection.destination = nil
        if !connection.isQuiet { self.settings.hooks.onClosed(record) }
    }

    /// Closes a side's socket and gives back what its flow borrowed; the place is ready for another socket.
    func closeSide(_ index: UInt32, isOrderly: Bool) {
        let side = self.sides[index]
        if side.pointee.fd >= 0 {
            if side.pointee.flags.contains(.kept) {
                Linux.sever(side.pointee.fd, isOrderly: isOrderly)
                self.keeping.hasLost = true
            } else if isOrderly {
                Linux.finish(side.pointee.fd)
            } else {
                Linux.reset(side.pointee.fd)
            }
        }
        side.pointee.fd = -1
        side.pointee.generation &+= 1
        side.pointee.flags = []
        self.giveBack(index)
    }

    /// Ends what a side's flow has borrowed; bytes still in it are lost.
    func giveBack(_ index: UInt32) {
        let side = self.sides[index]
        if let block = side.pointee.block {
            self.blocks.give(block)
            side.pointee.block = nil
        }
        if side.pointee.pipe >= 0 {
            self.pipes.give(side.pointee.pipe, isEmpty: side.pointee.bytesInPipe == 0)
            side.pointee.pipe = -1
            side.pointee.bytesInPipe = 0
            side.pointee.spilled = 0
        }
    }

    /// The word for a call on a socket that failed: whose it was, unless this node is short of something.
    func reason(forFailureOf index: UInt32, _ error: SystemError) -> CloseReason {
        switch error.errno {
        case ENOMEM, ENOBUFS, EMFILE, ENFILE: .resourceExhausted
        default: self.reason(forFailureOf: index)
        }
    }

    /// The word for a socket that broke: whose it was.
    func reason(forFailureOf index: UInt32) -> CloseReason {
        if self.sides[index].pointee.flags.contains(.tunnel) { return .tunnelReset }
        return index & 1 == 0 ? .clientReset : .serverReset
    }
}

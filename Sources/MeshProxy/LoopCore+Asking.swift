// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshModel

/// What other threads ask a loop.
extension LoopCore {
    /// Live connections with their present byte counts: of those at a bounded number of places, so that no turn becomes
    /// long.
    ///
    /// - Parameters:
    ///   - from: the first place to look at.
    ///   - isSampled: TCP is asked how each one's way to its peer is.
    /// - Returns: also where to go on; nil: that was all.
    func records(from: UInt32, isSampled: Bool) -> (records: [ConnectionRecord], next: UInt32?) {
        var records: [ConnectionRecord] = []
        let end = min(from + Self.placesPerLook, UInt32(self.sides.capacity))
        for index in stride(from: from, to: end, by: 2) {
            guard let connection = self.sides[index].pointee.connection?.takeUnretainedValue(), !connection.isQuiet
            else { continue }
            var record = self.present(connection)
            if isSampled, connection.setup == nil, let path = self.peerPath(connection) {
                record.tcp = self.health(connection, path)
            }
            records.append(record)
        }
        return (records, end < UInt32(self.sides.capacity) ? end : nil)
    }

    func present(_ connection: Connection) -> ConnectionRecord {
        var record = connection.record
        record.bytesSent = self.sides[connection.index].pointee.bytes
        record.bytesReceived = self.sides[connection.server].pointee.bytes
        let wall = Clock.wall
        record.duration = wall > record.openedAt ? wall - record.openedAt : 0
        return record
    }

    func presentStatistics() -> ProxyStatistics {
        var statistics = self.statistics
        statistics.connections = self.sides.inUse - self.quietCount
        statistics.idleTunnels = self.quietCount
        statistics.buffersLent = self.blocks.lent
        statistics.pipesLent = self.pipes.lent
        return statistics
    }

    func forEachConnection(_ body: (Connection) -> Void) {
        for index in stride(from: UInt32(0), to: UInt32(self.sides.capacity), by: 2) {
            if let connection = self.sides[index].pointee.connection?.takeUnretainedValue() { body(connection) }
        }
    }

    /// Closes every connection for which `isMeant`.
    func closeAll(_ reason: CloseReason, where isMeant: (Connection) -> Bool) {
        var meant: [Connection] = []
        self.forEachConnection { if isMeant($0) { meant.append($0) } }
        // What closing one has closed as well is closed already.
        for connection in meant { self.close(connection, reason) }
    }
}

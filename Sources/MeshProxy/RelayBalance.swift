// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshTunnel

/// What lay between the two sockets of a relay once, as TCP counts what went in and out. Whoever finds the sockets later,
/// after the process that moved the bytes was killed, can tell by it whether all bytes are still in the kernel: what was
/// read from one socket and not written to the other must be in the pipe, or it is lost.
struct RelayBalance: Equatable {
    /// From one side to the other. All numbers wrap.
    struct Flow: Equatable {
        /// What the source had given less what the destination had taken, of what was not in between.
        var lead: UInt64
        /// Payload of the connection that the destination had taken, less what its socket counts.
        var base: UInt64

        /// - Parameters:
        ///   - read: from the source, as its position says; `written`: to the destination.
        ///   - between: bytes on the way.
        ///   - delivered: payload that the destination had taken.
        init(read: UInt64, written: UInt64, between: Int, delivered: UInt64) {
            self.lead = read &- written &- UInt64(between)
            self.base = delivered &- written
        }

        /// How many bytes are between the sockets now; negative: the numbers are not those of this flow.
        func between(read: UInt64, written: UInt64) -> Int64 {
            Int64(bitPattern: read &- written &- self.lead)
        }

        /// Payload that the destination has taken now.
        func delivered(written: UInt64) -> UInt64 { self.base &+ written }
    }

    /// From the client to the server, and back.
    var up: Flow
    var down: Flow

    /// Content that passed one socket: as TCP counts it, less the records' headers and tags on a kernel-TLS socket.
    struct Position: Equatable {
        var read: UInt64
        var written: UInt64
        var isEndSent = false
        var isOpen = true
        var isTunnel = false
    }

    enum Finding: Equatable {
        /// No byte is lost; what was delivered to the server, and to the client.
        case whole(up: UInt64, down: UInt64)
        /// The kernel may still be moving bytes: ask again.
        case pending
        case lost
        /// One of the sockets is closed.
        case closed
    }

    /// - Parameter inPipes: bytes in the pipe of what comes from the client, and of what comes from the server.
    func find(_ client: Position, _ server: Position, inPipes: (up: Int, down: Int)) -> Finding {
        guard client.isOpen, server.isOpen else { return .closed }
        let up = Self.find(self.up, from: client, to: server, inPipe: inPipes.up)
        let down = Self.find(self.down, from: server, to: client, inPipe: inPipes.down)
        guard case .whole(let sent, _) = up else { return up }
        guard case .whole(let received, _) = down else { return down }
        return .whole(up: sent, down: received)
    }

    private static func find(
        _ flow: Flow, from source: Position, to destination: Position, inPipe: Int
    ) -> Finding {
        var (read, written) = (source.read, destination.written)
        if destination.isEndSent {
            // close_notify is a record like the others to the kernel: it went into the tunnel, or came out of it.
            if destination.isTunnel { written &-= Self.closeNotify }
            if source.isTunnel { read &-= Self.closeNotify }
        }
        let between = flow.between(read: read, written: written)
        if between == Int64(inPipe) {
            let delivered = flow.delivered(written: written)
            // Far from where adding to it would overflow, whatever the balance says.
            if delivered >> 62 != 0 { return .lost }
            return .whole(up: delivered, down: delivered)
        }
        // Records that TCP had no room for follow by themselves.
        return destination.isTunnel && between > Int64(inPipe) ? .pending : .lost
    }

    /// Bytes of content.
    static let closeNotify: UInt64 = 2
}

extension RelayBalance {
    func write(to writer: inout StateWriter) {
        for flow in [self.up, self.down] {
            writer.put(flow.lead)
            writer.put(flow.base)
        }
    }

    init(from reader: inout StateReader) throws(StateError) {
        self.up = try Flow(from: &reader)
        self.down = try Flow(from: &reader)
    }
}

extension RelayBalance.Flow {
    fileprivate init(from reader: inout StateReader) throws(StateError) {
        self.lead = try reader.integer()
        self.base = try reader.integer()
    }
}

extension RelayBalance.Position {
    init(_ counts: Linux.StreamCounts) {
        self.init(
            read: counts.read, written: counts.written, isEndSent: counts.isEndSent, isOpen: counts.isOpen)
    }
}

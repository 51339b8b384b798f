// SPDX-License-Identifier: Apache-2.0

/// Reads the handshake messages that may follow a handshake, however they are cut into records: NewSessionTicket is
/// skipped, KeyUpdate reported, everything else refused (RFC 8446 §4.6).
struct PostHandshakeReader {
    enum Event: Equatable {
        case nothing
        case keyUpdate(isAnswerWanted: Bool)
    }

    private var type: UInt8 = 0
    private var headerBytes: UInt8 = 0
    private var length: Int32 = 0
    private var taken: Int32 = 0

    init() {}

    init(from reader: inout StateReader) throws(StateError) {
        self.type = try reader.integer()
        self.headerBytes = try reader.integer()
        self.length = try reader.integer()
        self.taken = try reader.integer()
        // What `next` leaves between two bytes, and nothing else: it counts on that.
        let isInBody = self.headerBytes == 4 && self.taken >= 0 && self.taken < self.length && self.length <= 65536
        let isInHeader = self.headerBytes < 4 && self.taken == 0 && self.length >= 0 && self.length < 1 << 16
        guard isInBody || isInHeader else { throw StateError("a handshake message that is partly read in no way") }
    }

    func write(to writer: inout StateWriter) {
        writer.put(self.type)
        writer.put(self.headerBytes)
        writer.put(self.length)
        writer.put(self.taken)
    }

    /// No message is partly read.
    var isBetweenMessages: Bool { self.headerBytes == 0 }

    mutating func next(_ byte: UInt8) throws(TunnelError) -> Event {
        if self.headerBytes < 4 {
            if self.headerBytes == 0 { self.type = byte } else { self.length = self.length << 8 | Int32(byte) }
            self.headerBytes += 1
            if self.headerBytes < 4 { return .nothing }
            switch (self.type, self.length) {
            case (24, 1): break
            case (4, 1...65536): break
            default:
                throw TunnelError(
                    .protocolViolation,
                    "the peer sent handshake message \(self.type) of \(self.length) bytes inside a tunnel")
            }
            return .nothing
        }
        self.taken += 1
        let event: Event
        switch (self.type, byte) {
        case (24, 0): event = .keyUpdate(isAnswerWanted: false)
        case (24, 1): event = .keyUpdate(isAnswerWanted: true)
        case (24, _): throw TunnelError(.protocolViolation, "the peer sent a malformed KeyUpdate")
        default: event = .nothing
        }
        if self.taken == self.length { self = Self() }
        return event
    }
}

// SPDX-License-Identifier: Apache-2.0
import COpenSSL
import Glibc
import MeshModel

/// An established TLS 1.3 session as a value: keys and sequence numbers per direction and who is at the other end. No
/// TLS library is needed any more; this is the user-space record engine. Confined to one loop.
package final class TunnelSession {
    package let suite: CipherSuite
    package let peer: SPIFFEID
    /// Whose certificate this side presented.
    package let local: SPIFFEID
    /// Seconds since the Unix epoch: when the first of both certificates ends.
    package let notAfter: Int64
    /// The handshake resumed an earlier one.
    package let isResumed: Bool
    /// The tunnel carries one connection after the other: an empty record of application data ends a direction of one
    /// (see ``TunnelCapabilities``).
    package var isReusable = false
    /// Sees the first records, in which a ticket may come.
    var tickets: TunnelHandshake?
    private(set) var sending: TrafficKeys
    private(set) var receiving: TrafficKeys

    /// A KeyUpdate has to be sealed before the next data: the peer asked, or our key has served long enough.
    package internal(set) var mustUpdateKey = false
    /// The peer's kernel holds its keys and cannot change them: our key serves until it is spent, then the tunnel ends.
    package var peerHasFixedKeys = false
    var budget = KeyBudget()
    /// Records in a row that carried no data.
    var barren = 0
    var postHandshake = PostHandshakeReader()

    init(
        suite: CipherSuite, sending: TrafficKeys, receiving: TrafficKeys, peer: SPIFFEID, local: SPIFFEID,
        notAfter: Int64 = .max, isResumed: Bool = false
    ) {
        self.suite = suite
        self.sending = sending
        self.receiving = receiving
        self.peer = peer
        self.local = local
        self.notAfter = notAfter
        self.isResumed = isResumed
    }

    deinit {
        self.sending.erase()
        self.receiving.erase()
    }

    // MARK: - Sending

    /// Seals `count` bytes of content in place. The content of record n begins at `n * stride + header`; all records
    /// but the last are full, so that the sealed bytes are contiguous from `base`.
    ///
    /// - Returns: the sealed bytes.
    package func seal(
        _ base: UnsafeMutableRawPointer, count: Int, pool: inout AEADContextPool
    ) throws(TunnelError) -> Int {
        guard let context = pool.context(for: &self.sending) else { throw Self.outOfMemory }
        var (record, left) = (base.assumingMemoryBound(to: UInt8.self), count)
        let seal = pool.provider(for: self.suite).seal
        while left > 0 {
            let content = min(left, RecordLayout.content)
            try self.sealRecord(record, content, RecordLayout.applicationData, context, seal)
            record += RecordLayout.stride
            left -= content
        }
        let records = (count + RecordLayout.content - 1) / RecordLayout.content
        if self.peerHasFixedKeys {
            self.budget.charge(content: count, records: records)
            if self.budget.isSpent(for: self.suite) { throw KeyBudget.spent }
        } else if self.sending.sequence >= CipherSuite.recordsPerKey {
            self.mustUpdateKey = true
        }
        return count + records * RecordLayout.overhead
    }

    /// Seals the orderly end of our direction; ``controlLength`` bytes at most.
    package func sealCloseNotify(
        _ base: UnsafeMutableRawPointer, pool: inout AEADContextPool
    ) throws(TunnelError) -> Int {
        try self.sealControl(base, RecordLayout.alert, [1, 0], &pool)
    }

    /// Seals the end of one connection of a reusable tunnel; ``controlLength`` bytes at most.
    package func sealStreamEnd(
        _ base: UnsafeMutableRawPointer, pool: inout AEADContextPool
    ) throws(TunnelError) -> Int {
        try self.sealControl(base, RecordLayout.applicationData, [], &pool)
    }

    /// Seals a fatal alert; ``controlLength`` bytes at most.
    package func sealAlert(
        _ alert: UInt8, _ base: UnsafeMutableRawPointer, pool: inout AEADContextPool
    ) throws(TunnelError) -> Int {
        try self.sealControl(base, RecordLayout.alert, [2, alert], &pool)
    }

    /// Seals a KeyUpdate and goes on to the next key; ``controlLength`` bytes at most.
    package func sealKeyUpdate(
        _ base: UnsafeMutableRawPointer, pool: inout AEADContextPool
    ) throws(TunnelError) -> Int {
        let count = try self.sealControl(base, RecordLayout.handshake, [24, 0, 0, 1, 0], &pool)
        self.sending.update()
        self.mustUpdateKey = false
        return count
    }

    /// Room for any of the control records.
    package static let controlLength = 64

    /// Also for tests, which seal what no peer of good will sends.
    func sealControl(
        _ base: UnsafeMutableRawPointer, _ type: UInt8, _ content: [UInt8], _ pool: inout AEADContextPool
    ) throws(TunnelError) -> Int {
        guard let context = pool.context(for: &self.sending) else { throw Self.outOfMemory }
        let record = base.assumingMemoryBound(to: UInt8.self)
        for (index, byte) in content.enumerated() { record[RecordLayout.header + index] = byte }
        try self.sealRecord(record, content.count, type, context, pool.provider(for: self.suite).seal)
        return content.count + RecordLayout.overhead
    }

    @inline(__always)
    private func sealRecord(
        _ record: UnsafeMutablePointer<UInt8>, _ content: Int, _ type: UInt8, _ context: UnsafeMutableRawPointer,
        _ seal:
            @convention(c) (
                UnsafeMutableRawPointer, UnsafePointer<UInt8>, UnsafePointer<UInt8>, UnsafeMutablePointer<UInt8>, Int
            ) -> Bool
    ) throws(TunnelError) {
        let length = content + RecordLayout.trailer
        record[0] = RecordLayout.applicationData
        record[1] = 3
        record[2] = 3
        record[3] = UInt8(truncatingIfNeeded: length >> 8)
        record[4] = UInt8(truncatingIfNeeded: length)
        record[RecordLayout.header + content] = type
        var nonce = self.sending.nonce(self.sending.sequence)
        self.sending.sequence += 1
        let sealed = withUnsafeBytes(of: &nonce) {
            seal(
                context, $0.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UInt8.self), record,
                record + RecordLayout.header, content + 1)
        }
        if !sealed { throw TunnelError(.keyExhausted, "a TLS record could not be sealed; the AEAD provider failed") }
    }

    // MARK: - Receiving

    /// What ``open(_:count:into:capacity:pool:)`` found.
    package struct Opened {
        /// Bytes of whole records that were taken.
        package var consumed = 0
        /// Ranges of content that were written to the vector, and their sum.
        package var ranges = 0
        package var content = 0
        /// The peer ended its direction in order; what follows is ignored.
        package var isEnd = false
        /// The peer ended its direction of this connection; what follows belongs to the tunnel's next one.
        package var isStreamEnd = false

        package init() {}
    }

    /// Opens the whole records among `count` bytes in place.
    ///
    /// - Parameters:
    ///   - vector: gets the ranges of content, in order; small ones are moved together.
    ///   - capacity: ranges there is room for; opening stops when it is used up.
    package func open(
        _ base: UnsafeMutableRawPointer, count: Int, into vector: UnsafeMutablePointer<iovec>, capacity: Int,
        pool: inout AEADContextPool
    ) throws(TunnelError) -> Opened {
        var opened = Opened()
        let bytes = base.assumingMemoryBound(to: UInt8.self)
        let open = pool.provider(for: self.suite).open
        while count - opened.consumed >= RecordLayout.header, opened.ranges < capacity {
            let record = bytes + opened.consumed
            let length = Int(record[3]) << 8 | Int(record[4])
            guard record[0] == RecordLayout.applicationData else {
                throw TunnelError(.protocolViolation, "the peer sent a record of type \(record[0]) inside a tunnel")
            }
            guard length > 16, length <= RecordLayout.content + 256 else {
                throw TunnelError(.protocolViolation, "the peer sent a TLS record of \(length) bytes")
            }
            if count - opened.consumed < RecordLayout.header + length { break }
            // After a KeyUpdate the context is another one.
            guard let context = pool.context(for: &self.receiving) else { throw Self.outOfMemory }
            if self.tickets != nil { self.show(record, RecordLayout.header + length) }
            let content = record + RecordLayout.header
            var nonce = self.receiving.nonce(self.receiving.sequence)
            let authentic = withUnsafeBytes(of: &nonce) {
                open(
                    context, $0.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UInt8.self), record, content,
                    length - 16)
            }
            guard authentic else {
                throw TunnelError(
                    .recordForged, "a TLS record failed authentication; something between the nodes changed bytes")
            }
            self.receiving.sequence += 1
            opened.consumed += RecordLayout.header + length
            var end = length - 17
            while end >= 0, content[end] == 0 { end -= 1 }
            guard end >= 0, end <= RecordLayout.content else {
                throw TunnelError(.protocolViolation, "the peer sent a TLS record without a type")
            }
            if content[end] == RecordLayout.applicationData, end > 0 {
                self.barren = 0
                opened.append(content, end, vector)
            } else if content[end] == RecordLayout.applicationData, self.isReusable {
                self.barren = 0
                opened.isStreamEnd = true
                break
            } else {
                opened.isEnd = try self.receivedControl(
                    type: content[end], UnsafeBufferPointer(start: content, count: end))
                if opened.isEnd { break }
            }
        }
        return opened
    }

    @inline(never)
    private func show(_ record: UnsafeMutablePointer<UInt8>, _ count: Int) {
        guard let tickets = self.tickets else { return }
        if !tickets.observe(UnsafeRawBufferPointer(start: record, count: count)) { self.tickets = nil }
    }

    /// - Returns: whether the peer ended its direction.
    @inline(never)
    private func receivedControl(type: UInt8, _ content: UnsafeBufferPointer<UInt8>) throws(TunnelError) -> Bool {
        self.barren += 1
        if self.barren > 64 {
            throw TunnelError(.protocolViolation, "the peer sends records without data")
        }
        switch type {
        case RecordLayout.applicationData:
            return false
        case RecordLayout.alert:
            guard content.count == 2 else {
                throw TunnelError(.protocolViolation, "the peer sent a malformed alert")
            }
            if content[1] == 0 { return true }
            // user_canceled announces a close_notify.
            if content[1] == 90 { return false }
            throw TunnelError(.alert, "the peer ended the tunnel: \(Alert.text(content[1]))")
        case RecordLayout.handshake:
            var updates = 0
            for byte in content {
                switch try self.postHandshake.next(byte) {
                case .nothing: continue
                case .keyUpdate(let isAnswerWanted):
                    updates += 1
                    if isAnswerWanted { self.mustUpdateKey = true }
                }
            }
            // RFC 8446 §5.1: the message before a key change ends its record.
            if updates > 0 {
                guard updates == 1, self.postHandshake.isBetweenMessages else {
                    throw TunnelError(.protocolViolation, "the peer's KeyUpdate does not end its record")
                }
                self.receiving.update()
            }
            return false
        default:
            throw TunnelError(.protocolViolation, "the peer sent TLS content of type \(type)")
        }
    }

    private static let outOfMemory = TunnelError(.keyExhausted, "no memory for a TLS key")
}

extension TunnelSession.Opened {
    /// Adds a range. A short one is moved behind the one before, so that the vector stays short too.
    @inline(__always)
    fileprivate mutating func append(
        _ content: UnsafeMutablePointer<UInt8>, _ count: Int, _ vector: UnsafeMutablePointer<iovec>
    ) {
        self.content += count
        if count < 2048, self.ranges > 0 {
            let last = vector + (self.ranges - 1)
            // The range before ends in front of this record, so there is room up to `content`.
            memmove(last.pointee.iov_base + last.pointee.iov_len, content, count)
            last.pointee.iov_len += count
        } else {
            vector[self.ranges] = iovec(iov_base: content, iov_len: count)
            self.ranges += 1
        }
    }
}

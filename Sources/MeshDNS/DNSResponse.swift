// SPDX-License-Identifier: Apache-2.0

/// A resolver's answer, checked as a whole and freed of what was between it and nodemeshd only (its OPT record).
package struct DNSResponse: Sendable {
    package private(set) var bytes: [UInt8]
    package let question: DNSQuestion?
    package let code: ResponseCode
    package let isTruncated: Bool
    package let hasEDNS: Bool
    /// Seconds for which it may be kept (RFC 2308 for a name or record that does not exist); nil: not at all.
    package let lifetime: UInt32?
    /// Where times to live stand.
    private let times: [Int]
    /// What the OPT record said besides its size.
    package let options: [UInt8]

    /// Nothing is kept longer, whatever it says.
    static let maximumLifetime: UInt32 = 86_400
    static let maximumNegativeLifetime: UInt32 = 3_600

    /// Nil when it is none.
    package init?(_ bytes: [UInt8]) {
        guard let reader = MessageReader(bytes), reader.flags.contains(.response), reader.questionCount <= 1 else {
            return nil
        }
        let question = reader.question()
        guard reader.questionCount == 0 || question != nil else { return nil }
        self.question = reader.questionCount == 0 ? nil : question
        var records = reader.records(behind: self.question)
        var (times, edns, end) = ([Int](), EDNS?.none, Int?.none)
        var (least, negative, kept) = (UInt32.max, UInt32?.none, 0)
        while let record = records.next() {
            if record.type == .opt, record.section == .additional {
                guard edns == nil, let found = EDNS(record, in: reader) else { return nil }
                edns = found
                // What is behind it is extra information, and goes with it.
                end = record.start
                kept = records.additionalTaken - 1
            }
            guard end == nil else { continue }
            // A time with the highest bit set counts as none (RFC 2181 §8).
            let time = record.timeToLive > 0x7fff_ffff ? 0 : record.timeToLive
            times.append(record.timeOffset)
            if record.section == .answer { least = min(least, time) }
            if record.section == .authority, record.type == .soa, record.data.count >= 22 {
                negative = min(time, reader.long(record.data.upperBound - 4))
            }
        }
        guard !records.isMalformed else { return nil }
        let code = reader.flags.code | UInt16(edns?.extendedCode ?? 0) << 4
        self.code = ResponseCode(rawValue: code)
        self.isTruncated = reader.flags.contains(.truncated)
        self.hasEDNS = edns != nil
        self.options = edns?.options ?? []
        self.times = times
        // What follows the last record is nobody's.
        self.bytes = Array(bytes[..<(end ?? records.offset)])
        if end != nil {
            self.bytes[10] = UInt8(kept >> 8)
            self.bytes[11] = UInt8(truncatingIfNeeded: kept)
        }
        if self.isTruncated {
            self.lifetime = nil
        } else if self.code == .nameError || (self.code == .noError && least == .max) {
            self.lifetime = negative.map { min($0, Self.maximumNegativeLifetime) }
        } else {
            self.lifetime = self.code == .noError ? min(least, Self.maximumLifetime) : nil
        }
    }

    package var isNameError: Bool { self.code == .nameError }

    /// No such name, or none of this type.
    package var isNegative: Bool {
        self.code == .nameError || (self.code == .noError && self.bytes[6] == 0 && self.bytes[7] == 0)
    }

    /// The answer as one client gets it: with its id, its question's case, and within its limit.
    ///
    /// - Parameters:
    ///   - age: seconds since it was received.
    ///   - limit: bytes; beyond them the answer says that it is truncated.
    package func message(for query: DNSQuery, age: UInt32, limit: Int, atMost: UInt32? = nil) -> [UInt8] {
        var edns = query.edns.map { EDNS(size: EDNS.safeSize, wantsSecurity: $0.wantsSecurity) }
        edns?.extendedCode = UInt8(truncatingIfNeeded: self.code.rawValue >> 4)
        if query.hasOptions { edns?.options = self.options }
        let extra = edns?.wire ?? []
        var message = self.bytes
        if let question = self.question, question.name == query.question.name {
            message.replaceSubrange(
                MessageReader.headerSize..<MessageReader.headerSize + question.written.count,
                with: query.question.written)
        }
        if message.count + extra.count > limit {
            message.removeSubrange(min(message.count, MessageReader.headerSize + (self.question?.size ?? 0))...)
            for offset in 6..<12 { message[offset] = 0 }
            message[2] |= UInt8(MessageFlags.truncated.rawValue >> 8)
        } else {
            for offset in self.times {
                let time = message[offset..<offset + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
                let left = min(time > age ? time - age : 0, atMost ?? .max)
                for index in 0..<4 { message[offset + index] = UInt8(truncatingIfNeeded: left >> (24 - 8 * index)) }
            }
        }
        message[0] = UInt8(query.id >> 8)
        message[1] = UInt8(truncatingIfNeeded: query.id)
        // RD is the client's own.
        message[2] = message[2] & 0xfe | (query.flags.contains(.recursionDesired) ? 1 : 0)
        if !extra.isEmpty {
            let count = UInt16(message[10]) << 8 | UInt16(message[11]) &+ 1
            message[10] = UInt8(count >> 8)
            message[11] = UInt8(truncatingIfNeeded: count)
            message += extra
        }
        return message
    }
}

extension DNSQuery {
    /// An answer without records: to say that there is none.
    package func refusal(_ code: ResponseCode) -> [UInt8] {
        var flags: MessageFlags = [.response, .recursionAvailable]
        if self.flags.contains(.recursionDesired) { flags.insert(.recursionDesired) }
        if self.flags.contains(.checkingDisabled) { flags.insert(.checkingDisabled) }
        let raw = flags.rawValue | self.flags.opcode << 11 | code.rawValue & 15
        var writer = MessageWriter(id: self.id, flags: MessageFlags(rawValue: raw), question: self.question)
        writer.add(self.edns.map { EDNS(size: EDNS.safeSize, wantsSecurity: $0.wantsSecurity) })
        return writer.bytes
    }

    /// The same for a message that is no query; nil when it does not even have a header.
    package static func refusal(of bytes: [UInt8], _ code: ResponseCode) -> [UInt8]? {
        guard let reader = MessageReader(bytes) else { return nil }
        let raw =
            MessageFlags.response.rawValue | reader.flags.rawValue & 0x7900 | code.rawValue & 15
        var writer = MessageWriter(id: reader.id, flags: MessageFlags(rawValue: raw), question: nil)
        if code.rawValue > 15 {
            var edns = EDNS(size: EDNS.safeSize)
            edns.extendedCode = UInt8(truncatingIfNeeded: code.rawValue >> 4)
            writer.add(edns)
        }
        return writer.bytes
    }
}

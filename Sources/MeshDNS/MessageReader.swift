// SPDX-License-Identifier: Apache-2.0

/// Reads a message that somebody sent (RFC 1035 §4.1), who may lie about every count, length and pointer. Whatever it
/// holds, reading ends, and never beyond its bytes.
package struct MessageReader {
    package static let headerSize = 12

    package let bytes: [UInt8]

    /// Nil when there is not even a header.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count >= Self.headerSize, bytes.count <= Int(UInt16.max) else { return nil }
        self.bytes = bytes
    }

    package var id: UInt16 { self.word(0) }
    package var flags: MessageFlags { MessageFlags(rawValue: self.word(2)) }
    package var questionCount: Int { Int(self.word(4)) }
    package var answerCount: Int { Int(self.word(6)) }
    package var authorityCount: Int { Int(self.word(8)) }
    package var additionalCount: Int { Int(self.word(10)) }

    /// - Parameter offset: of two bytes that are there.
    func word(_ offset: Int) -> UInt16 { UInt16(self.bytes[offset]) << 8 | UInt16(self.bytes[offset + 1]) }

    func long(_ offset: Int) -> UInt32 { UInt32(self.word(offset)) << 16 | UInt32(self.word(offset + 2)) }

    /// A name, and where the next thing begins; nil when it is none. What a pointer leads to must lie whole before the part
    /// that it ends (RFC 1035 §4.1.4: "a prior occurrence of the same name"), so that none leads round.
    ///
    /// - Parameter fields: where the fixed fields of earlier records begin, in order. No name is written there: one that
    ///   was would change with their times to live.
    package func name(at start: Int, avoiding fields: [Int] = []) -> (name: DNSName, next: Int)? {
        var wire: [UInt8] = []
        // A part begins there, has been read up to here, and ends before that.
        var (part, offset, end, next) = (start, start, self.bytes.count, Int?.none)
        while offset < end {
            let length = Int(self.bytes[offset])
            switch length >> 6 {
            case 0:
                guard wire.count + length + 1 <= DNSName.maximumLength, offset + length < end else { return nil }
                wire += self.bytes[offset...offset + length]
                offset += length + 1
                guard length == 0 else { continue }
                guard !RecordSequence.isField(part..<offset, of: fields) else { return nil }
                return (DNSName(checked: wire), next ?? offset)
            case 3:
                guard offset + 1 < end else { return nil }
                let target = Int(self.word(offset) & 0x3fff)
                guard target < part, target >= Self.headerSize,
                    !RecordSequence.isField(part..<offset + 2, of: fields)
                else { return nil }
                if next == nil { next = offset + 2 }
                (part, offset, end) = (target, target, part)
            default:
                return nil
            }
        }
        return nil
    }

    /// The only question; nil when it is malformed.
    package func question() -> DNSQuestion? {
        guard let (name, next) = self.name(at: Self.headerSize), next + 4 <= self.bytes.count,
            // There is nothing before it that a pointer could lead to.
            next == Self.headerSize + name.wire.count
        else { return nil }
        return DNSQuestion(
            name: name, written: Array(self.bytes[Self.headerSize..<next]),
            type: RecordType(rawValue: self.word(next)), class: self.word(next + 2))
    }

    /// Where the records begin behind one question.
    package func records(behind question: DNSQuestion?) -> RecordSequence {
        RecordSequence(self, at: Self.headerSize + (question?.size ?? 0))
    }
}

/// The second word of a message (RFC 1035 §4.1.1, RFC 4035 §3).
package struct MessageFlags: OptionSet, Hashable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let response = Self(rawValue: 0x8000)
    package static let authoritative = Self(rawValue: 0x0400)
    package static let truncated = Self(rawValue: 0x0200)
    package static let recursionDesired = Self(rawValue: 0x0100)
    package static let recursionAvailable = Self(rawValue: 0x0080)
    package static let authenticData = Self(rawValue: 0x0020)
    package static let checkingDisabled = Self(rawValue: 0x0010)

    /// 0: a query.
    package var opcode: UInt16 { self.rawValue >> 11 & 15 }
    /// The four bits that are here.
    package var code: UInt16 { self.rawValue & 15 }
}

/// What is asked.
package struct DNSQuestion: Hashable, Sendable {
    package let name: DNSName
    /// The name in the case that it was asked in, which the answer repeats.
    package let written: [UInt8]
    package let type: RecordType
    package let `class`: UInt16

    package static let internet: UInt16 = 1

    package init(name: DNSName, written: [UInt8]? = nil, type: RecordType, class: UInt16 = Self.internet) {
        self.name = name
        self.written = written ?? name.wire
        self.type = type
        self.class = `class`
    }

    /// Bytes of it in a message.
    var size: Int { self.name.wire.count + 4 }

    /// As it stands in a message.
    var wire: [UInt8] {
        self.written + [
            UInt8(self.type.rawValue >> 8), UInt8(truncatingIfNeeded: self.type.rawValue), UInt8(self.class >> 8),
            UInt8(truncatingIfNeeded: self.class),
        ]
    }

    /// Whether another asks the same, in any case.
    package func isSame(as other: DNSQuestion) -> Bool {
        self.name == other.name && self.type == other.type && self.class == other.class
    }
}

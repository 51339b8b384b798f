// SPDX-License-Identifier: Apache-2.0

/// Writes a message of one question.
package struct MessageWriter {
    package private(set) var bytes: [UInt8]

    /// The offset of the question's name, as a compression pointer.
    private static let questionPointer: [UInt8] = [0xc0, UInt8(MessageReader.headerSize)]

    package init(id: UInt16, flags: MessageFlags, question: DNSQuestion?) {
        self.bytes = [UInt8](repeating: 0, count: MessageReader.headerSize)
        self.put(id, at: 0)
        self.put(flags.rawValue, at: 2)
        if let question {
            self.put(1, at: 4)
            self.bytes += question.wire
        }
    }

    private mutating func put(_ value: UInt16, at offset: Int) {
        self.bytes[offset] = UInt8(value >> 8)
        self.bytes[offset + 1] = UInt8(truncatingIfNeeded: value)
    }

    private mutating func append(_ value: UInt16) {
        self.bytes += [UInt8(value >> 8), UInt8(truncatingIfNeeded: value)]
    }

    private mutating func append(_ value: UInt32) {
        self.append(UInt16(value >> 16))
        self.append(UInt16(truncatingIfNeeded: value))
    }

    private mutating func count(_ section: RecordSequence.Section) {
        let offset =
            switch section {
            case .answer: 6
            case .authority: 8
            case .additional: 10
            }
        self.put((UInt16(self.bytes[offset]) << 8 | UInt16(self.bytes[offset + 1])) &+ 1, at: offset)
    }

    /// - Parameter name: nil: the question's, in its own case.
    package mutating func add(
        _ type: RecordType, name: DNSName? = nil, timeToLive: UInt32, data: [UInt8],
        to section: RecordSequence.Section = .answer
    ) {
        self.bytes += name?.wire ?? Self.questionPointer
        self.append(type.rawValue)
        self.append(DNSQuestion.internet)
        self.append(timeToLive)
        self.append(UInt16(truncatingIfNeeded: data.count))
        self.bytes += data
        self.count(section)
    }

    package mutating func add(_ edns: EDNS?) {
        guard let edns else { return }
        self.bytes += edns.wire
        self.count(.additional)
    }
}

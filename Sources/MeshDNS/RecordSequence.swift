// SPDX-License-Identifier: Apache-2.0

/// The resource records of a message, one after the other, in all of its sections.
package struct RecordSequence {
    package enum Section: Sendable, Hashable { case answer, authority, additional }

    package struct Record {
        package let section: Section
        package let name: DNSName
        /// Where it begins.
        package let start: Int
        package let type: RecordType
        package let `class`: UInt16
        /// Where its time to live stands, four bytes.
        package let timeOffset: Int
        package let timeToLive: UInt32
        package let data: Range<Int>
    }

    /// Bytes of type, class, time to live and length of data, between a record's name and its data.
    private static let fixedSize = 10

    private let reader: MessageReader
    /// Where those of the records read so far begin.
    private var fields: [Int] = []
    /// Behind the last one that was read.
    private(set) var offset: Int
    private var left: (answer: Int, authority: Int, additional: Int)
    /// Whether what is there is not what the header promised.
    package private(set) var isMalformed = false
    /// Records taken of the additional section.
    package private(set) var additionalTaken = 0

    init(_ reader: MessageReader, at offset: Int) {
        self.reader = reader
        self.offset = offset
        self.left = (reader.answerCount, reader.authorityCount, reader.additionalCount)
    }

    /// The next one; nil at the end, or where the message is not one any more.
    package mutating func next() -> Record? {
        guard !self.isMalformed, let section = self.take() else { return nil }
        guard let (name, fixed) = self.reader.name(at: self.offset, avoiding: self.fields),
            fixed + Self.fixedSize <= self.reader.bytes.count
        else { return self.fail() }
        let data = fixed + Self.fixedSize
        let end = data + Int(self.reader.word(fixed + 8))
        guard end <= self.reader.bytes.count else { return self.fail() }
        let record = Record(
            section: section, name: name, start: self.offset,
            type: RecordType(rawValue: self.reader.word(fixed)), class: self.reader.word(fixed + 2),
            timeOffset: fixed + 4, timeToLive: self.reader.long(fixed + 4), data: data..<end)
        self.offset = end
        self.fields.append(fixed)
        if section == .additional { self.additionalTaken += 1 }
        return record
    }

    /// Whether bytes of a message are among the fixed fields that begin at these places, in order.
    static func isField(_ bytes: Range<Int>, of fields: [Int]) -> Bool {
        var (low, high) = (0, fields.count)
        // The first that does not end before them.
        while low < high {
            let middle = (low + high) / 2
            if fields[middle] + Self.fixedSize <= bytes.lowerBound { low = middle + 1 } else { high = middle }
        }
        return low < fields.count && fields[low] < bytes.upperBound
    }

    private mutating func take() -> Section? {
        if self.left.answer > 0 {
            self.left.answer -= 1
            return .answer
        }
        if self.left.authority > 0 {
            self.left.authority -= 1
            return .authority
        }
        guard self.left.additional > 0 else { return nil }
        self.left.additional -= 1
        return .additional
    }

    private mutating func fail() -> Record? {
        self.isMalformed = true
        return nil
    }
}

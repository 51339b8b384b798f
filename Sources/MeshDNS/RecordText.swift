// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// Records in words, for people.
package struct RecordText: Sendable, Hashable {
    package let name: String
    package let type: String
    package let timeToLive: UInt32
    package let data: String

    /// Those of a message's answer, and what it says of a name that does not exist; none of one that is malformed.
    package static func lines(of message: [UInt8]) -> [RecordText] {
        guard let reader = MessageReader(message), let question = reader.question() else { return [] }
        var (lines, records) = ([RecordText](), reader.records(behind: question))
        while let record = records.next() {
            guard record.section == .answer || record.type == .soa else { continue }
            lines.append(
                RecordText(
                    name: record.name.description, type: record.type.description, timeToLive: record.timeToLive,
                    data: Self.text(record, in: reader)))
        }
        return records.isMalformed ? [] : lines
    }

    private static func text(_ record: RecordSequence.Record, in reader: MessageReader) -> String {
        let data = record.data
        func name(at offset: Int) -> String? { reader.name(at: offset)?.name.description }
        switch record.type {
        case .a, .aaaa:
            if let address = IPAddress(bytes: reader.bytes[data]) { return address.description }
        case .cname, .ns, .ptr, .soa:
            if let text = name(at: data.lowerBound) { return text }
        case .mx where data.count > 2:
            if let text = name(at: data.lowerBound + 2) { return "\(reader.word(data.lowerBound)) \(text)" }
        case .srv where data.count > 6:
            if let text = name(at: data.lowerBound + 6) { return "\(reader.word(data.lowerBound + 4)) \(text)" }
        case .txt:
            return Self.strings(reader.bytes[data])
        default: break
        }
        return "\\# \(data.count)"
    }

    /// Character strings, each behind its length.
    private static func strings(_ bytes: ArraySlice<UInt8>) -> String {
        var (texts, rest) = ([String](), bytes)
        while let length = rest.first {
            rest = rest.dropFirst()
            texts.append("\"" + String(decoding: rest.prefix(Int(length)), as: UTF8.self) + "\"")
            rest = rest.dropFirst(Int(length))
        }
        return texts.joined(separator: " ")
    }
}

// SPDX-License-Identifier: Apache-2.0
import MeshDNS
import MeshModel

/// Messages for tests, written out by hand where that is shorter.
enum Messages {
    static func name(_ text: String) -> DNSName {
        guard let name = DNSName(text) else { preconditionFailure("no name: \(text)") }
        return name
    }

    static func question(_ text: String, _ type: RecordType = .a) -> DNSQuestion {
        DNSQuestion(name: Self.name(text), type: type)
    }

    /// A client's query; `text` keeps its case.
    static func query(
        _ text: String, _ type: RecordType = .a, id: UInt16 = 7, edns: EDNS? = nil,
        flags: MessageFlags = .recursionDesired
    ) -> [UInt8] {
        var written: [UInt8] = []
        for label in text.split(separator: ".") { written += [UInt8(label.utf8.count)] + Array(label.utf8) }
        let question = DNSQuestion(name: Self.name(text), written: written + [0], type: type)
        var writer = MessageWriter(id: id, flags: flags, question: question)
        writer.add(edns)
        return writer.bytes
    }

    static func id(_ message: [UInt8]) -> UInt16 { UInt16(message[0]) << 8 | UInt16(message[1]) }

    /// The answer to a query that was sent upstream.
    static func answer(
        to query: [UInt8], code: ResponseCode = .noError, addresses: [String] = [], time: UInt32 = 60,
        negativeTime: UInt32? = nil, flags: MessageFlags = [], edns: EDNS? = EDNS(size: 1232), id: UInt16? = nil
    ) -> [UInt8] {
        guard let reader = MessageReader(query), let question = reader.question() else {
            preconditionFailure("no query")
        }
        let all = flags.union([.response, .recursionDesired, .recursionAvailable])
        var writer = MessageWriter(
            id: id ?? reader.id, flags: MessageFlags(rawValue: all.rawValue | code.rawValue), question: question)
        for text in addresses {
            guard let address = IPAddress(text) else { preconditionFailure("no address: \(text)") }
            writer.add(address.isIPv4 ? .a : .aaaa, timeToLive: time, data: address.bytes)
        }
        if let negativeTime {
            let numbers: [UInt32] = [1, 2, 3, 4, negativeTime]
            var data: [UInt8] = [0, 0]
            for number in numbers { data += (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * $0)) } }
            writer.add(.soa, name: .root, timeToLive: 900, data: data, to: .authority)
        }
        writer.add(edns)
        return writer.bytes
    }

    /// Addresses, times and code of a message.
    struct Seen: Equatable {
        var id: UInt16
        var code: UInt16
        var isTruncated: Bool
        var isAuthoritative: Bool
        var addresses: [String]
        var times: [UInt32]
        var written: [UInt8]
        var edns: UInt16?
        var authority: [RecordType]
    }

    static func read(_ bytes: [UInt8]) -> Seen? {
        guard let reader = MessageReader(bytes), let question = reader.question() else { return nil }
        var seen = Seen(
            id: reader.id, code: reader.flags.code, isTruncated: reader.flags.contains(.truncated),
            isAuthoritative: reader.flags.contains(.authoritative), addresses: [], times: [],
            written: question.written, edns: nil, authority: [])
        var records = reader.records(behind: question)
        while let record = records.next() {
            switch record.section {
            case .answer:
                seen.times.append(record.timeToLive)
                if let address = IPAddress(bytes: bytes[record.data]) { seen.addresses.append(address.description) }
            case .authority:
                seen.authority.append(record.type)
                seen.times.append(record.timeToLive)
            case .additional: if record.type == .opt { seen.edns = record.class }
            }
        }
        return records.isMalformed ? nil : seen
    }
}

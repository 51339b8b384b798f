// SPDX-License-Identifier: Apache-2.0

/// What an OPT record says (RFC 6891 §6.1).
package struct EDNS: Hashable, Sendable {
    /// What is sent over UDP is at most this long, since longer is fragmented on many paths (DNS flag day 2020).
    package static let safeSize: UInt16 = 1232
    package static let plainSize = 512

    /// Bytes of an answer over UDP.
    package var size: UInt16
    package var version: UInt8 = 0
    /// The upper bits of the response code.
    package var extendedCode: UInt8 = 0
    /// The client wants signatures (DO).
    package var wantsSecurity = false
    /// Codes and values as they came, without those that are between two neighbours only.
    package var options: [UInt8] = []

    package init(size: UInt16, wantsSecurity: Bool = false) {
        self.size = size
        self.wantsSecurity = wantsSecurity
    }

    /// COOKIE (RFC 7873), edns-tcp-keepalive (RFC 7828) and Padding (RFC 7830) speak of one hop.
    private static let hopByHop: Set<UInt16> = [10, 11, 12]

    /// Nil when the record's name or data is malformed.
    init?(_ record: RecordSequence.Record, in reader: MessageReader) {
        guard record.name == .root else { return nil }
        self.init(size: record.class)
        self.extendedCode = UInt8(record.timeToLive >> 24)
        self.version = UInt8(truncatingIfNeeded: record.timeToLive >> 16)
        self.wantsSecurity = record.timeToLive & 0x8000 != 0
        var offset = record.data.lowerBound
        while offset < record.data.upperBound {
            guard offset + 4 <= record.data.upperBound else { return nil }
            let end = offset + 4 + Int(reader.word(offset + 2))
            guard end <= record.data.upperBound else { return nil }
            if !Self.hopByHop.contains(reader.word(offset)) { self.options += reader.bytes[offset..<end] }
            offset = end
        }
    }

    /// The record as it stands in a message.
    var wire: [UInt8] {
        let size = self.size
        return [
            0, 0, UInt8(RecordType.opt.rawValue), UInt8(size >> 8), UInt8(truncatingIfNeeded: size),
            self.extendedCode, self.version, self.wantsSecurity ? 0x80 : 0, 0, UInt8(self.options.count >> 8),
            UInt8(truncatingIfNeeded: self.options.count),
        ] + self.options
    }
}

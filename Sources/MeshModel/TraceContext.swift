// SPDX-License-Identifier: Apache-2.0

/// A W3C trace context of version 00 (`traceparent`), as a value: each live connection has one.
package struct TraceContext: Hashable, Sendable {
    private let traceHigh: UInt64
    private let traceLow: UInt64
    private let span: UInt64
    private let flags: UInt8

    /// A new trace.
    ///
    /// - Parameter isSampled: whoever makes spans of it is to send them to its collector.
    package static func random(isSampled: Bool = false) -> TraceContext {
        var generator = SystemRandomNumberGenerator()
        // All zeros would be invalid, of a trace and of a span.
        return TraceContext(
            traceHigh: generator.next(), traceLow: generator.next() | 1, span: generator.next() | 1,
            flags: isSampled ? 1 : 0)
    }

    /// The flag "sampled".
    package var isSampled: Bool { self.flags & 1 != 0 }

    /// The 16 bytes of the trace's id.
    package var traceID: [UInt8] { Self.bytes(self.traceHigh) + Self.bytes(self.traceLow) }

    /// The 8 bytes of the span's id.
    package var spanID: [UInt8] { Self.bytes(self.span) }

    private static func bytes(_ value: UInt64) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }

    private init(traceHigh: UInt64, traceLow: UInt64, span: UInt64, flags: UInt8) {
        self.traceHigh = traceHigh
        self.traceLow = traceLow
        self.span = span
        self.flags = flags
    }
}

extension TraceContext: LosslessStringConvertible {
    /// Parses `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`, in lower case.
    package init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 4, parts[0] == "00", parts.map(\.utf8.count) == [2, 32, 16, 2],
            parts.allSatisfy({ $0.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) } }),
            let high = UInt64(parts[1].prefix(16), radix: 16), let low = UInt64(parts[1].suffix(16), radix: 16),
            let span = UInt64(parts[2], radix: 16), let flags = UInt8(parts[3], radix: 16), high | low != 0, span != 0
        else { return nil }
        self.init(traceHigh: high, traceLow: low, span: span, flags: flags)
    }

    package var description: String {
        let digits: StaticString = "0123456789abcdef"
        return String(unsafeUninitializedCapacity: 55) { text in
            var index = 0
            func put(_ byte: UInt8) {
                text[index] = byte
                index += 1
            }
            func put(_ value: UInt64, digits count: Int) {
                for shift in stride(from: 4 * (count - 1), through: 0, by: -4) {
                    put(digits.utf8Start[Int(value >> UInt64(shift) & 15)])
                }
            }
            put(0, digits: 2)
            put(45)
            put(self.traceHigh, digits: 16)
            put(self.traceLow, digits: 16)
            put(45)
            put(self.span, digits: 16)
            put(45)
            put(UInt64(self.flags), digits: 2)
            return index
        }
    }
}

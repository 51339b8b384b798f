// SPDX-License-Identifier: Apache-2.0

/// W3C trace context for a connection that begins here.
enum Traceparent {
    /// A new trace, not sampled.
    static func make() -> String {
        let digits: StaticString = "0123456789abcdef"
        var text: [UInt8] = [48, 48, 45]
        text.reserveCapacity(55)
        func append(_ value: UInt64) {
            for shift in stride(from: UInt64(60), through: 0, by: -4) {
                text.append(digits.utf8Start[Int(value >> shift & 15)])
            }
        }
        var generator = SystemRandomNumberGenerator()
        append(generator.next())
        // All zeros would be invalid.
        append(generator.next() | 1)
        text.append(45)
        append(generator.next() | 1)
        text += [45, 48, 48]
        return String(decoding: text, as: UTF8.self)
    }
}

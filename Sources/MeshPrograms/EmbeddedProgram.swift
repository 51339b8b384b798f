// SPDX-License-Identifier: Apache-2.0

/// A compiled eBPF object that the build placed in the binary.
package struct EmbeddedProgram: Sendable {
    /// The source file's name without `.bpf.c`.
    package let name: String
    /// Another for every other object: hexadecimal digits.
    package let digest: String
    private let base64: StaticString

    init(name: String, digest: String, base64: StaticString) {
        self.name = name
        self.digest = digest
        self.base64 = base64
    }

    /// The ELF object, decoded.
    package var object: [UInt8] {
        self.base64.withUTF8Buffer { text in
            var bytes: [UInt8] = []
            bytes.reserveCapacity(text.count / 4 * 3)
            var (bits, count): (UInt32, Int) = (0, 0)
            for character in text {
                guard let value = Self.value(of: character) else { continue }
                bits = bits << 6 | UInt32(value)
                count += 6
                if count >= 8 {
                    count -= 8
                    bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
                }
            }
            return bytes
        }
    }

    private static func value(of character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): character - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): character - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}

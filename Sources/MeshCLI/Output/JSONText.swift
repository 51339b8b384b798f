// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Lays out a JSON body for reading without touching its values: numbers and strings keep every character.
package enum JSONText {
    /// - Returns: two spaces per level and a final newline. Text that is not JSON comes back with no worse damage
    ///   than other white space.
    package static func indented(_ body: Data) -> String {
        var (output, level, isInString, isEscaped) = ([UInt8](), 0, false, false)
        output.reserveCapacity(body.count * 2)
        func newline() { output += [UInt8(ascii: "\n")] + [UInt8](repeating: UInt8(ascii: " "), count: 2 * level) }
        for byte in body {
            if isInString {
                output.append(byte)
                if isEscaped {
                    isEscaped = false
                } else if byte == UInt8(ascii: "\\") {
                    isEscaped = true
                } else if byte == UInt8(ascii: "\"") {
                    isInString = false
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""):
                isInString = true
                output.append(byte)
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                output.append(byte)
                level = min(level + 1, 512)
                newline()
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                level = max(0, level - 1)
                // An empty object or array closes on the line that opened it.
                while output.last == UInt8(ascii: " ") || output.last == UInt8(ascii: "\n") { output.removeLast() }
                if output.last != UInt8(ascii: "{"), output.last != UInt8(ascii: "[") { newline() }
                output.append(byte)
            case UInt8(ascii: ","):
                output.append(byte)
                newline()
            case UInt8(ascii: ":"):
                output += [byte, UInt8(ascii: " ")]
            case UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "\t"):
                break
            default:
                output.append(byte)
            }
        }
        return String(decoding: output, as: UTF8.self) + "\n"
    }
}

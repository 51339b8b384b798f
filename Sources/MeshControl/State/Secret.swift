// SPDX-License-Identifier: Apache-2.0

import Crypto
import Foundation

/// Random texts that prove something, and their comparison.
enum Secret {
    /// 256 random bits in 43 letters, digits, `-` and `_`.
    static func make() -> String { Self.random(bytes: 32) }

    /// Random text of that many bytes' worth.
    static func random(bytes count: Int) -> String {
        var generator = SystemRandomNumberGenerator()
        let bytes = (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        return Data(bytes).base64EncodedString()
            .replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
            .replacingOccurrences(of: "=", with: "")
    }

    static func digest(_ text: String) -> [UInt8] { Array(SHA256.hash(data: Data(text.utf8))) }

    /// Takes the same time wherever the difference is, and whatever the lengths are.
    static func isEqual(_ left: String, _ right: String) -> Bool {
        zip(Self.digest(left), Self.digest(right)).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
    }
}

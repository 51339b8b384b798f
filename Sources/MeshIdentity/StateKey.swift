// SPDX-License-Identifier: Apache-2.0

import Crypto
import Foundation

/// The key by which a node knows again what it wrote to its own disk. It prints as its kind only; ``text`` is the one way
/// to its content.
package struct StateKey: Sendable {
    /// Bytes of a seal: HMAC-SHA256.
    package static let sealBytes = 32

    private let key: SymmetricKey

    /// A new random key.
    package init() { self.key = SymmetricKey(size: .bits256) }

    /// From ``text``; nil for anything else.
    package init?(text: String) {
        let digits = Array(text.trimmingCharacters(in: .whitespacesAndNewlines).utf8)
        guard digits.count == 64 else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: 64, by: 2) {
            guard let byte = UInt8(String(decoding: digits[index...index + 1], as: UTF8.self), radix: 16) else {
                return nil
            }
            bytes.append(byte)
        }
        self.key = SymmetricKey(data: bytes)
    }

    /// For a file with mode 0600, nothing else.
    package var text: String { self.key.withUnsafeBytes { hexadecimal($0) } }

    /// - Parameter purpose: what the bytes are: a seal on one kind of file is none on another.
    package func seal(_ bytes: [UInt8], for purpose: String) -> [UInt8] {
        Array(self.code(bytes, purpose).finalize())
    }

    /// Takes the same time wherever the difference is.
    package func isSeal(_ seal: [UInt8], of bytes: [UInt8], for purpose: String) -> Bool {
        let own = self.seal(bytes, for: purpose)
        return own.count == seal.count && zip(own, seal).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
    }

    private func code(_ bytes: [UInt8], _ purpose: String) -> HMAC<SHA256> {
        var code = HMAC<SHA256>(key: self.key)
        // Its length first, so that no purpose and content read as another pair.
        code.update(data: Data("\(purpose.utf8.count):\(purpose):".utf8))
        code.update(data: bytes)
        return code
    }
}

extension StateKey: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { "StateKey(redacted)" }
    package var debugDescription: String { self.description }
    package var customMirror: Mirror { Mirror(self, children: []) }
}

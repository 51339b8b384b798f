// SPDX-License-Identifier: Apache-2.0
import COpenSSL

/// Bytes that may hold keys: never copied when they grow without wiping the old place, wiped when they end.
///
/// `@unchecked`: the memory has one owner, this value.
package struct SecretBytes: ~Copyable, @unchecked Sendable {
    private var buffer: UnsafeMutableRawBufferPointer
    package private(set) var count = 0

    package init(capacity: Int = 4096) {
        self.buffer = .allocate(byteCount: max(64, capacity), alignment: 16)
    }

    /// A copy.
    package init(_ bytes: UnsafeRawBufferPointer) {
        self.init(capacity: bytes.count)
        self.append(bytes)
    }

    deinit {
        OPENSSL_cleanse(self.buffer.baseAddress, self.buffer.count)
        self.buffer.deallocate()
    }

    package func withUnsafeBytes<R: ~Copyable, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R
    {
        try body(UnsafeRawBufferPointer(rebasing: self.buffer[..<self.count]))
    }

    package mutating func append(_ bytes: UnsafeRawBufferPointer) {
        self.reserve(bytes.count)
        UnsafeMutableRawBufferPointer(rebasing: self.buffer[self.count...]).copyMemory(from: bytes)
        self.count += bytes.count
    }

    /// Overwrites bytes that are there.
    package mutating func replace(at offset: Int, with bytes: UnsafeRawBufferPointer) {
        UnsafeMutableRawBufferPointer(rebasing: self.buffer[offset..<offset + bytes.count]).copyMemory(from: bytes)
    }

    private mutating func reserve(_ more: Int) {
        if self.count + more <= self.buffer.count { return }
        let larger = UnsafeMutableRawBufferPointer.allocate(
            byteCount: max(self.buffer.count * 2, self.count + more), alignment: 16)
        larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: self.buffer[..<self.count]))
        OPENSSL_cleanse(self.buffer.baseAddress, self.buffer.count)
        self.buffer.deallocate()
        self.buffer = larger
    }
}

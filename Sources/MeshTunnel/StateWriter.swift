// SPDX-License-Identifier: Apache-2.0

/// Writes what one process hands to the next: integers in little-endian order, byte strings behind their length, and
/// records of a kind and a length, which a reader that does not know them can skip.
package struct StateWriter: ~Copyable {
    package private(set) var bytes = SecretBytes()

    package init() {}

    /// Gives the bytes away.
    package consuming func finish() -> SecretBytes { self.bytes }

    package mutating func put<T: FixedWidthInteger & BitwiseCopyable>(_ value: T) {
        withUnsafeBytes(of: value.littleEndian) { self.bytes.append($0) }
    }

    package mutating func put(_ value: Bool) { self.put(UInt8(value ? 1 : 0)) }

    /// Without a length: the reader knows it.
    package mutating func put(raw bytes: UnsafeRawBufferPointer) { self.bytes.append(bytes) }

    package mutating func put(bytes: [UInt8]) {
        self.put(UInt32(clamping: bytes.count))
        bytes.withUnsafeBytes { self.bytes.append($0) }
    }

    package mutating func put(text: String) { self.put(bytes: Array(text.utf8)) }

    /// Whether there is a value, and what `body` writes of it.
    package mutating func put<T>(optional value: T?, _ body: (inout StateWriter, T) -> Void) {
        self.put(value != nil)
        if let value { body(&self, value) }
    }

    package mutating func record(_ kind: UInt8, _ body: (inout StateWriter) -> Void) {
        self.put(kind)
        let place = self.bytes.count
        self.put(UInt32(0))
        body(&self)
        let length = UInt32(clamping: self.bytes.count - place - 4)
        withUnsafeBytes(of: length.littleEndian) { self.bytes.replace(at: place, with: $0) }
    }
}

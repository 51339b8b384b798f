// SPDX-License-Identifier: Apache-2.0

/// Bytes of another process that are not what they should be.
package struct StateError: Error, Equatable, Sendable, CustomStringConvertible {
    package let message: String

    package init(_ message: String) { self.message = message }

    package var description: String { self.message }
}

/// Reads what ``StateWriter`` wrote. Every length is checked against what is there and against the caller's bound, so
/// that no bytes, whoever made them, can do more than cause an error. Valid as long as the bytes are.
package struct StateReader {
    private let bytes: UnsafeRawBufferPointer
    private var offset = 0

    package init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    package var isAtEnd: Bool { self.offset == self.bytes.count }

    /// The next `count` bytes in place.
    package mutating func raw(_ count: Int) throws(StateError) -> UnsafeRawBufferPointer {
        guard count >= 0, count <= self.bytes.count - self.offset else {
            throw StateError("\(count) bytes were expected and \(self.bytes.count - self.offset) are there")
        }
        defer { self.offset += count }
        return UnsafeRawBufferPointer(rebasing: self.bytes[self.offset..<self.offset + count])
    }

    package mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(
        _ type: T.Type = T.self
    ) throws(StateError) -> T {
        T(littleEndian: try self.raw(MemoryLayout<T>.size).loadUnaligned(as: T.self))
    }

    /// A number that goes on growing: far from where adding to it would overflow.
    package mutating func count() throws(StateError) -> UInt64 {
        let count = try self.integer(UInt64.self)
        if count >> 62 != 0 { throw StateError("\(count) is no count") }
        return count
    }

    package mutating func bool() throws(StateError) -> Bool {
        switch try self.integer(UInt8.self) {
        case 0: return false
        case 1: return true
        case let other: throw StateError("\(other) is no truth value")
        }
    }

    package mutating func bytes(limit: Int) throws(StateError) -> [UInt8] {
        let count = Int(try self.integer(UInt32.self))
        if count > limit { throw StateError("\(count) bytes where \(limit) are the most") }
        return Array(try self.raw(count))
    }

    package mutating func text(limit: Int) throws(StateError) -> String {
        guard let text = String(validating: try self.bytes(limit: limit), as: UTF8.self) else {
            throw StateError("a text that is not UTF-8")
        }
        return text
    }

    package mutating func optional<T>(
        _ body: (inout StateReader) throws(StateError) -> T
    ) throws(StateError) -> T? {
        try self.bool() ? try body(&self) : nil
    }

    /// The next record's kind and content; nil at the end.
    package mutating func record() throws(StateError) -> (kind: UInt8, content: StateReader)? {
        if self.isAtEnd { return nil }
        let kind = try self.integer(UInt8.self)
        let count = try self.integer(UInt32.self)
        return (kind, StateReader(try self.raw(Int(count))))
    }
}

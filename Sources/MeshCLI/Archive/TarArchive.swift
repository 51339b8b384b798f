// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Files in one: a tar archive in the format of POSIX.1-1988 (ustar).
struct TarArchive {
    private static let block = 512
    private let date: Date
    private var bytes = Data()

    /// - Parameter date: of every file.
    init(date: Date) { self.date = date }

    /// Adds a file that its owner may read.
    ///
    /// - Parameter name: a relative path of at most 100 bytes; what is longer is cut.
    mutating func add(_ name: String, _ content: Data) {
        var header = Data(count: Self.block)
        func put(_ text: String, at offset: Int, _ size: Int) {
            let bytes = text.utf8.prefix(size)
            header.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        }
        /// Octal digits with a zero byte at the end.
        func put(_ number: Int, at offset: Int, _ size: Int) {
            let digits = String(number, radix: 8)
            put(String(repeating: "0", count: max(0, size - 1 - digits.count)) + digits, at: offset, size - 1)
        }
        put(name, at: 0, 100)
        put(0o600, at: 100, 8)
        put(0, at: 108, 8)
        put(0, at: 116, 8)
        put(content.count, at: 124, 12)
        put(max(0, Int(self.date.timeIntervalSince1970)), at: 136, 12)
        put("        ", at: 148, 8)
        put("0", at: 156, 1)
        put("ustar\u{0}00", at: 257, 8)
        // The sum of the header with blanks in its place.
        put(header.reduce(0) { $0 + Int($1) }, at: 148, 7)
        self.bytes += header + content
        self.bytes += Data(count: (Self.block - content.count % Self.block) % Self.block)
    }

    /// Two empty blocks end an archive.
    var data: Data { self.bytes + Data(count: 2 * Self.block) }
}

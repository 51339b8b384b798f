// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What a report holds so far, and what is missing from it.
struct BugReport {
    /// More of one file is cut.
    private static let fileLimit = 16 << 20

    private let redactor: Redactor
    private(set) var files: [(name: String, text: String)] = []
    private(set) var missing: [String] = []

    init(redactor: Redactor) { self.redactor = redactor }

    mutating func add(_ name: String, _ text: String) {
        let cut = text.utf8.count > Self.fileLimit
        let kept = cut ? String(decoding: Array(text.utf8.suffix(Self.fileLimit)), as: UTF8.self) : text
        if cut { self.missing.append("\(name): only the last \(Human.bytes(UInt64(Self.fileLimit)))") }
        self.files.append((name, self.redactor.redact(kept)))
    }

    mutating func miss(_ name: String, _ why: String) {
        self.missing.append("\(name): \(self.redactor.redact(why))")
    }

    /// - Parameters:
    ///   - directory: the one that it unpacks to.
    ///   - head: lines about the report itself.
    func archive(directory: String, head: [String], at date: Date) throws(CLIError) -> Data {
        var tar = TarArchive(date: date)
        let lines = head + ["", "missing:"] + (self.missing.isEmpty ? ["  nothing"] : self.missing.map { "  \($0)" })
        tar.add("\(directory)/report.txt", Data((lines.joined(separator: "\n") + "\n").utf8))
        for file in self.files { tar.add("\(directory)/\(file.name)", Data(file.text.utf8)) }
        return try Gzip.compress(tar.data)
    }
}

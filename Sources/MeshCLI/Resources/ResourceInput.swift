// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI

/// Resource documents from several files, sent as one body so that the control plane takes all or nothing.
package struct ResourceInput: Sendable {
    /// Everything that is given in one command may have this many bytes.
    package static let limit = 32 << 20

    /// One file's place in the body.
    private struct Part: Sendable {
        /// The path as it was given, or `-`.
        var name: String
        /// Line of the body, from 1, that holds the file's first line.
        var firstLine: Int
        var lineCount: Int
        /// Position of its first document in the body, from 1, and the lines in the file on which each begins.
        var firstDocument: Int
        var documentLines: [Int]
    }

    private var parts: [Part] = []
    private var text = ""
    private var lineCount = 0
    private var documentCount = 0

    package init() {}

    /// The YAML stream.
    package var body: Data { Data(self.text.utf8) }

    /// No document was found.
    package var isEmpty: Bool { self.documentCount == 0 }

    /// Takes in one file's text.
    ///
    /// Only the lines are looked at: what they mean is the control plane's to judge, and its problems carry lines.
    ///
    /// - Throws: when it is not UTF-8, or too much.
    package mutating func append(_ data: Data, from name: String) throws(CLIError) {
        let mark: [UInt8] = [0xef, 0xbb, 0xbf]
        guard var file = String(validating: data.starts(with: mark) ? data.dropFirst(3) : data, as: UTF8.self) else {
            throw CLIError("\(name) is not UTF-8 text", hints: ["Resources are YAML or JSON."])
        }
        guard self.text.utf8.count + data.count <= Self.limit else {
            throw CLIError(
                "more than \(Human.bytes(UInt64(Self.limit))) of resources", hints: ["Apply them in parts."])
        }
        if !file.isEmpty, file.utf8.last != UInt8(ascii: "\n") { file += "\n" }
        let lines = Self.documentLines(of: file)
        if lines.isEmpty { return }
        if !self.text.isEmpty, let separator = Self.separator(before: file) {
            self.text += separator + "\n"
            self.lineCount += 1
        }
        let count = file.utf8.count(where: { $0 == UInt8(ascii: "\n") })
        self.parts.append(
            Part(
                name: name, firstLine: self.lineCount + 1, lineCount: count, firstDocument: self.documentCount + 1,
                documentLines: lines))
        self.text += file
        self.lineCount += count
        self.documentCount += lines.count
    }

    /// `FILE:LINE` of a problem that the control plane found in the body.
    package func place(of problem: ResourceProblem) -> String {
        if let line = problem.line, let part = self.parts.last(where: { $0.firstLine <= line }) {
            // What is wrong with a separator of ours is an end that the file before it lacks.
            return "\(part.name):\(min(line - part.firstLine + 1, part.lineCount))"
        }
        if let part = self.parts.last(where: { $0.firstDocument <= problem.document }),
            problem.document - part.firstDocument < part.documentLines.count
        {
            return "\(part.name):\(part.documentLines[problem.document - part.firstDocument])"
        }
        return problem.place
    }

    /// What has to stand between the documents before and this file.
    private static func separator(before file: String) -> String? {
        for line in file.utf8.split(separator: UInt8(ascii: "\n")) where Self.isContent(line) {
            if Self.isMarker(line, "---") { return nil }
            // Directives may only follow an explicit end.
            return line.first == UInt8(ascii: "%") ? "..." : "---"
        }
        return nil
    }

    /// The line, from 1, on which each document begins (YAML 1.2 §9.1): a marker at the margin is one everywhere, also
    /// inside a text.
    private static func documentLines(of file: String) -> [Int] {
        var (lines, isInside) = ([Int](), false)
        for (index, line) in file.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            .enumerated()
        {
            if Self.isMarker(line, "---") {
                lines.append(index + 1)
                isInside = true
            } else if Self.isMarker(line, "...") {
                isInside = false
            } else if !isInside, Self.isContent(line), line.first != UInt8(ascii: "%") {
                lines.append(index + 1)
                isInside = true
            }
        }
        return lines
    }

    private static func isMarker(_ line: Substring.UTF8View, _ marker: String) -> Bool {
        line.starts(with: marker.utf8) && (line.dropFirst(3).first.map(Self.isBlank) ?? true)
    }

    /// Neither blank nor a comment.
    private static func isContent(_ line: Substring.UTF8View) -> Bool {
        line.first(where: { !Self.isBlank($0) }).map { $0 != UInt8(ascii: "#") } ?? false
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0d }
}

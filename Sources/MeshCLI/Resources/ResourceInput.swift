// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Yams

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
    /// - Throws: when it is not UTF-8, not YAML, or too much.
    package mutating func append(_ data: Data, from name: String) throws(CLIError) {
        guard let decoded = String(data: data, encoding: .utf8) else {
            throw CLIError("\(name) is not UTF-8 text", hints: ["Resources are YAML or JSON."])
        }
        guard self.text.utf8.count + data.count <= Self.limit else {
            throw CLIError(
                "more than \(Human.bytes(UInt64(Self.limit))) of resources", hints: ["Apply them in parts."])
        }
        var file = decoded.hasPrefix("\u{feff}") ? String(decoded.dropFirst()) : decoded
        if !file.isEmpty, !file.hasSuffix("\n") { file += "\n" }
        let lines = try Self.documentLines(of: file, named: name)
        // A file of comments only would be an empty document, and errors must not shift by one.
        if lines.isEmpty { return }
        // A file that opens with its own marker must not follow another: that would be an empty document between.
        if !self.text.isEmpty, !Self.beginsWithMarker(file) {
            self.text += "---\n"
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
        if let line = problem.line,
            let part = self.parts.last(where: { $0.firstLine <= line }), line < part.firstLine + part.lineCount
        {
            return "\(part.name):\(line - part.firstLine + 1)"
        }
        if let part = self.parts.last(where: { $0.firstDocument <= problem.document }),
            problem.document - part.firstDocument < part.documentLines.count
        {
            return "\(part.name):\(part.documentLines[problem.document - part.firstDocument])"
        }
        return problem.place
    }

    private static func beginsWithMarker(_ file: String) -> Bool {
        for line in file.split(separator: "\n") {
            let text = line.drop(while: { $0 == " " || $0 == "\t" || $0 == "\r" })
            if text.isEmpty || text.hasPrefix("#") { continue }
            return line.hasPrefix("---") || line.hasPrefix("%")
        }
        return false
    }

    /// The line, from 1, on which the content of each document begins. Empty documents count for nothing.
    private static func documentLines(of file: String, named name: String) throws(CLIError) -> [Int] {
        do {
            var lines: [Int] = []
            for node in try Yams.compose_all(yaml: file) {
                if case .scalar(let scalar) = node, scalar.string.isEmpty { continue }
                lines.append(node.mark?.line ?? 1)
            }
            return lines
        } catch let error as YamlError {
            throw CLIError(Self.text(of: error, in: name), hints: ["Nothing was sent."])
        } catch {
            throw CLIError("\(name): \(error)", hints: ["Nothing was sent."])
        }
    }

    private static func text(of error: YamlError, in name: String) -> String {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            "\(name):\(mark.line): not YAML: \(problem)"
        default:
            "\(name): not YAML: \(error)"
        }
    }
}

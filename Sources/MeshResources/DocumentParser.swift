// SPDX-License-Identifier: Apache-2.0

package import MeshAdminAPI
import Yams

/// Turns YAML or JSON text into documents, within limits.
///
/// Only the part of YAML that JSON has too is taken: no anchors and aliases (a few lines of them describe more data
/// than fits in memory), no tags, no keys that are not text.
package struct DocumentParser {
    private let limits: ResourceLimits
    private var nodes = 0

    private init(limits: ResourceLimits) { self.limits = limits }

    /// One document of the text: its position from 1, and its value or what is wrong with its form.
    package struct Document {
        package enum Content {
            case value(DocumentValue)
            case problem(ResourceProblem)
        }

        package var position: Int
        package var content: Content
    }

    /// Documents without content are left out but counted. Parsing ends at the first fault in the syntax, since what
    /// follows it has no certain meaning.
    package static func parse(_ text: String, limits: ResourceLimits) -> [Document] {
        func refused(_ position: Int, line: Int? = nil, _ reason: String) -> Document {
            Document(
                position: position,
                content: .problem(ResourceProblem(document: position, line: line, path: "", reason: reason)))
        }

        guard text.utf8.count <= limits.bytes else {
            return [refused(1, "the text has \(text.utf8.count) bytes; at most \(limits.bytes) are taken at once")]
        }
        if let reason = Self.refusal(of: text.utf8) { return [refused(1, reason)] }
        // The parser keeps a pointer to the text, which a string short enough to have no storage cannot give.
        var text = text + String(repeating: "\n", count: 32)
        text.makeContiguousUTF8()

        var (documents, position) = ([Document](), 0)
        var parser = DocumentParser(limits: limits)
        do {
            let yams = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
            // Anchors are known as long as the parser lives.
            try withExtendedLifetime(yams) {
                while let node = try yams.nextRoot() {
                    position += 1
                    if position > limits.resources {
                        documents.append(refused(position, "more than \(limits.resources) documents"))
                        return
                    }
                    do throws(Fault) {
                        let value = try parser.value(node, depth: 0)
                        if !value.isNull { documents.append(Document(position: position, content: .value(value))) }
                    } catch {
                        documents.append(refused(position, line: error.line, error.reason))
                        if error.isFinal { return }
                    }
                }
            }
        } catch {
            let (line, reason) = Self.explain(error, in: text)
            documents.append(refused(position + 1, line: line, "cannot be read as YAML or JSON: \(reason)"))
        }
        return documents
    }

    private struct Fault: Error {
        var line: Int?
        var reason: String
        /// Nothing further is worth looking at.
        var isFinal = false
    }

    private mutating func value(_ node: Node, depth: Int) throws(Fault) -> DocumentValue {
        let line = node.mark?.line ?? 0
        self.nodes += 1
        if self.nodes > self.limits.nodes {
            throw Fault(line: line, reason: "more than \(self.limits.nodes) values in one call", isFinal: true)
        }
        if depth > self.limits.depth {
            throw Fault(line: line, reason: "nested deeper than \(self.limits.depth) levels")
        }
        if node.anchor != nil {
            throw Fault(line: line, reason: "anchors and aliases (& and *) are not supported; write the value out")
        }
        switch node {
        case .scalar(let scalar):
            let isQuoted = scalar.style != .plain && scalar.style != .any
            try Self.checkTag(scalar.tag, line)
            return DocumentValue(line: line, content: .scalar(scalar.string, isPlain: !isQuoted))
        case .sequence(let sequence):
            try Self.checkTag(sequence.tag, line)
            var values: [DocumentValue] = []
            for element in sequence { values.append(try self.value(element, depth: depth + 1)) }
            return DocumentValue(line: line, content: .list(values))
        case .mapping(let mapping):
            try Self.checkTag(mapping.tag, line)
            var members: [DocumentValue.Member] = []
            for (key, element) in mapping {
                guard case .scalar(let text) = key, key.anchor == nil else {
                    throw Fault(line: key.mark?.line ?? line, reason: "a key has to be plain or quoted text")
                }
                try Self.checkTag(text.tag, line)
                members.append(
                    .init(
                        line: key.mark?.line ?? line, key: text.string,
                        value: try self.value(element, depth: depth + 1)))
            }
            return DocumentValue(line: line, content: .object(members))
        case .alias:
            throw Fault(line: line, reason: "aliases (*) are not supported; write the value out")
        }
    }

    private static func checkTag(_ tag: Tag, _ line: Int) throws(Fault) {
        // An absent tag may have been resolved in place already, to the plain type of its node.
        let name = Tag.Name(rawValue: tag.description)
        guard [.implicit, .nonSpecific, .str, .seq, .map].contains(name) else {
            throw Fault(line: line, reason: "tags (!) are not supported; leave \(name.rawValue.prefix(64)) out")
        }
    }

    /// The parser compares keys before anything here can look at them. Keys made of aliases or of explicit keys in
    /// each other make that comparison explode, so texts that may hold many of them are not parsed at all.
    private static func refusal(of text: String.UTF8View) -> String? {
        var (anchors, aliases, explicitKeys) = (0, 0, 0)
        var (beforeLast, last): (UInt8, UInt8) = (10, 10)
        func mayStartToken(after byte: UInt8) -> Bool { " \t\r\n[]{},:?".utf8.contains(byte) || byte > 127 }
        func isName(_ byte: UInt8) -> Bool {
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 45
                || byte == 95
        }
        for byte in text {
            switch last {
            case UInt8(ascii: "&") where mayStartToken(after: beforeLast) && isName(byte): anchors += 1
            case UInt8(ascii: "*") where mayStartToken(after: beforeLast) && isName(byte): aliases += 1
            case UInt8(ascii: "?") where mayStartToken(after: beforeLast): explicitKeys += 1
            default: break
            }
            (beforeLast, last) = (last, byte)
        }
        if anchors > 0, aliases > 4 {
            return "anchors and aliases (& and *) are not supported; write the values out"
        }
        if explicitKeys > 64 { return "explicit keys (?) are not supported; write 'key: value'" }
        return nil
    }

    private static func explain(_ error: any Error, in text: String) -> (line: Int?, reason: String) {
        guard let error = error as? YamlError else { return (nil, "\(error)") }
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            return (mark.line, problem)
        case .reader(let problem, let offset, _, _):
            let before = offset.map { text.prefix($0) }
            return (before.map { $0.count { $0.isNewline } + 1 }, problem)
        case .duplicatedKeysInMapping(let duplicates, let context):
            let keys = duplicates.map { "'\($0.prefix(64))'" }.joined(separator: ", ")
            return (context.mark.line, "duplicate key \(keys) in an object")
        case .memory, .no, .writer, .emitter, .representer, .dataCouldNotBeDecoded:
            return (nil, "the parser gave up")
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import Yams

/// The text of a configuration file, changed key by key: other keys, comments and their order stay.
package struct SettingsText: Sendable, Equatable {
    package private(set) var text: String

    package init(_ text: String) { self.text = text }

    /// Gives a top-level key a value: in its place, in that of its commented-out default, or at the end.
    package mutating func set(_ key: String, _ value: String) {
        var lines = self.text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        if lines.last == "" { lines.removeLast() }
        let line = "\(key): \(value)"
        if let index = lines.firstIndex(where: { Self.isKey(key, $0[...]) }) {
            // A value on lines of its own, a list for instance, goes with it.
            var end = index + 1
            while end < lines.count, Self.continues(lines[end]) { end += 1 }
            lines.replaceSubrange(index..<end, with: [line])
        } else if let index = lines.firstIndex(where: { $0.hasPrefix("#") && Self.isKey(key, $0.dropFirst()) }) {
            lines[index] = line
        } else {
            lines.append(line)
        }
        self.text = lines.joined(separator: "\n") + "\n"
    }

    /// A top-level key's single value; nil when it has none.
    package func value(of key: String) -> String? {
        guard case .mapping(let mapping) = try? Yams.compose(yaml: self.text) else { return nil }
        return mapping.first { $0.key.string == key }?.value.string
    }

    /// A scalar as it stands in YAML.
    package static func scalar(_ value: String) -> String {
        let isPlain =
            value.utf8.allSatisfy { byte in
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                    || "./:_-".utf8.contains(byte)
            } && value.first.map { $0.isLetter || $0.isNumber } == true && value.last != ":"
        if isPlain { return value }
        return "\"" + value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }

    private static func isKey(_ key: String, _ line: Substring) -> Bool {
        line.hasPrefix(key) && line.dropFirst(key.count).drop { $0 == " " }.first == ":"
    }

    private static func continues(_ line: String) -> Bool {
        line.hasPrefix(" ") || line.hasPrefix("\t") || line.hasPrefix("- ") || line == "-"
    }
}

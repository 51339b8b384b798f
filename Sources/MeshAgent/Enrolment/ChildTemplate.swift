// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshModel

/// Makes enrolment requests of the names of a cgroup's children.
struct ChildTemplate {
    let template: EnrolTemplate
    private let pattern: Regex<AnyRegexOutput>

    /// - Throws: ``EnrolmentError`` when the pattern is none, or a text names a capture that the pattern lacks.
    init(_ template: EnrolTemplate) throws(EnrolmentError) {
        try RequestCheck.checkName("template", template.name, limit: 63)
        guard template.namePattern.utf8.count <= 1024 else {
            throw EnrolmentError(.invalid, "namePattern: longer than 1024 bytes")
        }
        do {
            self.pattern = try Regex(template.namePattern)
        } catch {
            throw EnrolmentError(
                .invalid, "namePattern '\(template.namePattern)' is not a regular expression: \(error)")
        }
        self.template = template
        let captures = Self.captures(of: template.namePattern)
        let request = template.workload
        let texts = [request.namespace, request.name, request.serviceAccount] + request.labels.values
        for text in texts {
            for name in Self.references(in: text) where !captures.contains(name) {
                throw EnrolmentError(
                    .invalid,
                    "'\(text)' names $\(name), but namePattern has no (?<\(name)>…); it has "
                        + (captures.isEmpty ? "none" : captures.sorted().joined(separator: ", ")))
            }
        }
        guard !Self.references(in: request.name).isEmpty else {
            throw EnrolmentError(
                .invalid, "name '\(request.name)' is the same for every child; use a capture, such as $name")
        }
    }

    /// The enrolment of a child; nil when the pattern does not match its directory's name.
    func request(child: String) throws(EnrolmentError) -> EnrolRequest? {
        guard let match = try? self.pattern.wholeMatch(in: child) else { return nil }
        var values: [String: String] = [:]
        for capture in match.output {
            if let name = capture.name { values[name] = capture.substring.map(String.init) ?? "" }
        }
        var request = self.template.workload
        request.cgroup = request.cgroup + "/" + child
        request.namespace = Self.label(Self.fill(request.namespace, values))
        request.name = Self.label(Self.fill(request.name, values))
        request.serviceAccount = Self.label(Self.fill(request.serviceAccount, values))
        request.labels = request.labels.mapValues { Self.fill($0, values) }
        request.whenGone = nil
        _ = try RequestCheck.check(request)
        return request
    }

    /// Units and containers may have letters in their names that an identity must not.
    private static func label(_ text: String) -> String {
        let bytes = text.lowercased().utf8.map { byte in
            (97...122).contains(byte) || (48...57).contains(byte) ? byte : UInt8(ascii: "-")
        }
        var label = String(decoding: bytes, as: UTF8.self)[...]
        while label.first == "-" { label.removeFirst() }
        label = label.prefix(63)
        while label.last == "-" { label.removeLast() }
        return String(label)
    }

    private static func fill(_ text: String, _ values: [String: String]) -> String {
        var (result, rest) = ("", text[...])
        while let dollar = rest.firstIndex(of: "$") {
            result += rest[..<dollar]
            let (name, after) = Self.reference(at: rest.index(after: dollar), in: rest)
            result += name.map { values[$0] ?? "" } ?? "$"
            rest = rest[after...]
        }
        return result + rest
    }

    private static func references(in text: String) -> [String] {
        var (names, rest) = ([String](), text[...])
        while let dollar = rest.firstIndex(of: "$") {
            let (name, after) = Self.reference(at: rest.index(after: dollar), in: rest)
            if let name { names.append(name) }
            rest = rest[after...]
        }
        return names
    }

    /// `name` or `{name}` after a dollar sign, and where it ends; nil when the sign stands for itself, as one of two
    /// does.
    private static func reference(
        at start: Substring.Index, in text: Substring
    ) -> (name: String?, after: Substring.Index) {
        let rest = text[start...]
        if rest.first == "$" { return (nil, rest.index(after: start)) }
        if rest.first == "{", let end = rest.firstIndex(of: "}") {
            return (String(rest[rest.index(after: start)..<end]), rest.index(after: end))
        }
        let name = rest.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
        return name.isEmpty ? (nil, start) : (String(name), name.endIndex)
    }

    /// The names in `(?<name>…)`; a look-behind, `(?<=` or `(?<!`, has none.
    static func captures(of pattern: String) -> Set<String> {
        var names: Set<String> = []
        for part in pattern.split(separator: "(?<", omittingEmptySubsequences: false).dropFirst() {
            let name = part.prefix { $0.isLetter || $0.isNumber || $0 == "_" }
            if !name.isEmpty, part[name.endIndex...].first == ">" { names.insert(String(name)) }
        }
        return names
    }
}

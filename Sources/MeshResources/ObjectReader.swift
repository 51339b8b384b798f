// SPDX-License-Identifier: Apache-2.0

/// Reads an object's members by name and reports those that nobody asked for.
///
/// It lives within one call of the decoder and never leaves it.
final class ObjectReader {
    let line: Int
    let path: String
    let problems: ProblemList
    private let members: [DocumentValue.Member]
    private var known: [String] = []
    private var handled: Set<String> = []

    init(_ members: [DocumentValue.Member], line: Int, path: String, problems: ProblemList) {
        self.members = members
        self.line = line
        self.path = path
        self.problems = problems
    }

    private func path(of name: String) -> String { self.path.isEmpty ? name : "\(self.path).\(name)" }

    func report(_ reason: String) { self.problems.add(line: self.line, path: self.path, reason) }

    func report(_ name: String, _ reason: String) {
        self.problems.add(line: self.line, path: self.path(of: name), reason)
    }

    /// Is it there, with a value?
    func has(_ name: String) -> Bool { self.members.contains { $0.key == name && !$0.value.isNull } }

    private func find(_ name: String) -> Field? {
        guard let member = self.members.first(where: { $0.key == name }), !member.value.isNull else { return nil }
        return Field(value: member.value, path: self.path(of: name), problems: self.problems)
    }

    /// A member that may be left out; null counts as left out.
    func optional(_ name: String) -> Field? {
        self.known.append(name)
        self.handled.insert(name)
        return self.find(name)
    }

    /// A member that has to be there.
    func required(_ name: String) -> Field? {
        let field = self.optional(name)
        if field == nil { self.report(name, "is required") }
        return field
    }

    /// Members that are read by nobody and may be there.
    func ignore(_ names: String...) { self.handled.formUnion(names) }

    /// Members that exist elsewhere and are refused here, with the reason.
    func refuse(_ names: String..., because reason: String) {
        for name in names {
            self.handled.insert(name)
            if let field = self.find(name) { field.report(reason) }
        }
    }

    /// An object without any of these members would hold for everything or for nothing, which is never what was meant.
    func reportIfEmpty(_ names: String...) {
        if !names.contains(where: self.has) {
            self.report("has to name at least one of \(names.joined(separator: ", "))")
        }
    }

    /// Reports every member that was not named by the calls before.
    func finish() {
        for member in self.members where !self.handled.contains(member.key) {
            self.problems.add(
                line: member.value.line, path: self.path(of: String(member.key.prefix(128))),
                "unknown field; known here: \(self.known.joined(separator: ", "))")
        }
    }
}

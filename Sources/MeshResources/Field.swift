// SPDX-License-Identifier: Apache-2.0

/// A value with its place in the resource. Each accessor reports what is wrong and answers nil then.
struct Field {
    let value: DocumentValue
    let path: String
    let problems: ProblemList

    func report(_ reason: String) { self.problems.add(line: self.value.line, path: self.path, reason) }

    var string: String? {
        if case .scalar(let text, let isPlain) = self.value.content {
            switch isPlain ? DocumentValue.type(ofPlain: text) : .text {
            case .text: return text
            case .number, .boolean:
                self.report("has to be text, but \(text.prefix(64)) is \(self.value.description): put it in quotes")
                return nil
            case .null: break
            }
        }
        self.report("has to be text, not \(self.value.description)")
        return nil
    }

    /// Text that is not empty and passes `check`, which answers with what is wrong.
    func string(_ check: (String) -> String?) -> String? {
        guard let text = self.string else { return nil }
        if let reason = check(text) {
            self.report(reason)
            return nil
        }
        return text
    }

    var boolean: Bool? {
        if case .scalar(let text, isPlain: true) = self.value.content {
            if ["true", "True", "TRUE"].contains(text) { return true }
            if ["false", "False", "FALSE"].contains(text) { return false }
        }
        self.report("has to be true or false, not \(self.value.description)")
        return nil
    }

    func integer(in range: ClosedRange<Int>) -> Int? {
        guard case .scalar(let text, isPlain: true) = self.value.content, Self.isDecimal(text) else {
            self.report(
                "has to be a whole number from \(range.lowerBound) to \(range.upperBound), not \(self.value.description)"
            )
            return nil
        }
        // A number too long for Int is out of every range.
        guard let number = Int(text), range.contains(number) else {
            self.report("has to be from \(range.lowerBound) to \(range.upperBound), not \(text.prefix(32))")
            return nil
        }
        return number
    }

    private static func isDecimal(_ text: String) -> Bool {
        let digits = text.first == "-" ? text.dropFirst() : text[...]
        return !digits.isEmpty && digits.utf8.allSatisfy { (48...57).contains($0) }
    }

    var port: UInt16? { self.integer(in: 1...65535).map { UInt16(truncatingIfNeeded: $0) } }

    var list: [Field]? {
        guard case .list(let values) = self.value.content else {
            self.report("has to be a list, not \(self.value.description)")
            return nil
        }
        return values.enumerated().map {
            Field(value: $0.element, path: "\(self.path)[\($0.offset)]", problems: self.problems)
        }
    }

    /// A list with something in it: an empty one would hold for everything or for nothing, depending on the reader.
    var nonEmptyList: [Field]? {
        guard let list = self.list else { return nil }
        if list.isEmpty {
            self.report("must not be an empty list; leave it out")
            return nil
        }
        return list
    }

    var object: ObjectReader? {
        guard case .object(let members) = self.value.content else {
            self.report("has to be an object, not \(self.value.description)")
            return nil
        }
        return ObjectReader(members, line: self.value.line, path: self.path, problems: self.problems)
    }

    /// Text by text key; `checkKey` and `checkValue` answer with what is wrong.
    func map(_ checkKey: (String) -> String?, _ checkValue: (String) -> String?) -> [String: String] {
        guard case .object(let members) = self.value.content else {
            self.report("has to be an object, not \(self.value.description)")
            return [:]
        }
        var result: [String: String] = [:]
        for member in members {
            let field = Field(
                value: member.value, path: "\(self.path)[\(member.key.prefix(128))]", problems: self.problems)
            if let reason = checkKey(member.key) { field.report("key: \(reason)") }
            if let text = field.string(checkValue) { result[member.key] = text }
        }
        return result
    }
}

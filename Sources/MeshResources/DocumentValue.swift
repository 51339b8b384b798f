// SPDX-License-Identifier: Apache-2.0

/// A value of a YAML or JSON document, with the line it stands on.
package struct DocumentValue: Sendable {
    package enum Content: Sendable {
        /// `isPlain`: without quotes, so that it may stand for a number, a truth value or nothing.
        case scalar(String, isPlain: Bool)
        case list([DocumentValue])
        case object([Member])
    }

    package struct Member: Sendable {
        /// Of the key.
        package var line: Int
        package var key: String
        package var value: DocumentValue
    }

    /// From 1 in the whole text.
    package var line: Int
    package var content: Content

    /// What the text of an unquoted scalar stands for in YAML 1.1, as Kubernetes reads it.
    enum PlainType: Sendable { case null, boolean, number, text }

    static func type(ofPlain text: String) -> PlainType {
        switch text {
        case "", "~", "null", "Null", "NULL":
            return .null
        case "true", "True", "TRUE", "false", "False", "FALSE", "yes", "Yes", "YES", "no", "No", "NO", "on", "On",
            "ON", "off", "Off", "OFF":
            return .boolean
        default:
            break
        }
        var digits = text.utf8[...]
        if let sign = digits.first, [43, 45].contains(sign) { digits = digits.dropFirst() }
        let lowered = String(digits.map { Character(Unicode.Scalar($0)) }).lowercased()
        if [".inf", ".nan"].contains(lowered) { return .number }
        if lowered.hasPrefix("0x") || lowered.hasPrefix("0o") || lowered.hasPrefix("0b") {
            return lowered.dropFirst(2).allSatisfy { $0.isHexDigit || $0 == "_" } ? .number : .text
        }
        guard let first = lowered.first, first.isNumber || first == "." else { return .text }
        return Double(lowered.filter { $0 != "_" }) == nil ? .text : .number
    }

    var isNull: Bool {
        guard case .scalar(let text, isPlain: true) = self.content else { return false }
        return Self.type(ofPlain: text) == .null
    }

    /// How a problem names what is there.
    package var description: String {
        switch self.content {
        case .list: "a list"
        case .object: "an object"
        case .scalar(_, isPlain: false): "text"
        case .scalar(let text, isPlain: true):
            switch Self.type(ofPlain: text) {
            case .null: "nothing"
            case .boolean: "a truth value"
            case .number: "a number"
            case .text: "text"
            }
        }
    }
}

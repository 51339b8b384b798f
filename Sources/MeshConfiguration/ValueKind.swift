// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// What the values of a key look like: in words for operators, from text and back.
package struct ValueKind<Value: Sendable>: Sendable {
    /// Follows "is not" in errors, and stands in the reference: `a whole number from 0 to 64`.
    package let allowed: String
    let parse: @Sendable (String) -> Value?
    /// Why a value of the right form is not taken all the same.
    let objection: @Sendable (Value) -> String?
    let text: @Sendable (Value) -> String

    package init(
        _ allowed: String, parse: @escaping @Sendable (String) -> Value?,
        objection: @escaping @Sendable (Value) -> String? = { _ in nil },
        text: @escaping @Sendable (Value) -> String = { "\($0)" }
    ) {
        self.allowed = allowed
        self.parse = parse
        self.objection = objection
        self.text = text
    }
}

extension ValueKind where Value == Int {
    /// - Parameter unit: such as `seconds`, for the reference.
    package static func number(_ range: ClosedRange<Int>, unit: String? = nil) -> Self {
        .init("a whole number\(unit.map { " of \($0)" } ?? "") from \(range.lowerBound) to \(range.upperBound)") {
            Int($0).flatMap { range.contains($0) ? $0 : nil }
        }
    }
}

extension ValueKind where Value == Double {
    /// A part of all.
    package static var share: Self {
        .init("a number from 0 to 1") { Double($0).flatMap { (0...1).contains($0) ? $0 : nil } }
    }
}

extension ValueKind where Value == Bool {
    package static var flag: Self { .init("one of true, false") { Bool($0) } }
}

extension ValueKind where Value == UInt16 {
    package static var port: Self { .init("a port from 1 to 65535") { UInt16($0).flatMap { $0 > 0 ? $0 : nil } } }
}

extension ValueKind where Value == String {
    package static var absolutePath: Self { .init("an absolute path") { $0.hasPrefix("/") ? $0 : nil } }

    /// - Parameter isValid: of the text as it stands.
    package static func text(_ allowed: String, _ isValid: @escaping @Sendable (String) -> Bool) -> Self {
        .init(allowed) { isValid($0) ? $0 : nil }
    }
}

extension ValueKind where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
    /// One of the names of an enumeration.
    package static var name: Self {
        .init(
            "one of \(Value.allCases.map(\.rawValue).joined(separator: ", "))", parse: { Value(rawValue: $0) },
            text: { $0.rawValue })
    }
}

extension ValueKind where Value: LosslessStringConvertible {
    /// A value with a text form of its own.
    package static func form(
        _ allowed: String, objection: @escaping @Sendable (Value) -> String? = { _ in nil }
    ) -> Self {
        .init(allowed, parse: { Value($0) }, objection: objection, text: { $0.description })
    }
}

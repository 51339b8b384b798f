// SPDX-License-Identifier: Apache-2.0

/// A list or map that the canonical form leaves out when there is nothing in it.
package protocol Emptiable: Codable, Hashable {
    init()
    var isEmpty: Bool { get }
}

extension Array: Emptiable where Element: Codable & Hashable {}
extension Dictionary: Emptiable where Key: Codable & Hashable, Value: Codable & Hashable {}

/// See ``Emptiable``.
@propertyWrapper
package struct OmittedWhenEmpty<Value: Emptiable & Sendable>: Codable, Hashable, Sendable {
    package var wrappedValue: Value

    package init(wrappedValue: Value) { self.wrappedValue = wrappedValue }

    package init(from decoder: any Decoder) throws { self.wrappedValue = try Value(from: decoder) }

    package func encode(to encoder: any Encoder) throws { try self.wrappedValue.encode(to: encoder) }
}

// Synthesised Codable code picks these over the generic methods.
extension KeyedEncodingContainer {
    mutating func encode<Value>(_ value: OmittedWhenEmpty<Value>, forKey key: Key) throws {
        if !value.wrappedValue.isEmpty { try self.encode(value.wrappedValue, forKey: key) }
    }
}

extension KeyedDecodingContainer {
    func decode<Value>(_: OmittedWhenEmpty<Value>.Type, forKey key: Key) throws -> OmittedWhenEmpty<Value> {
        OmittedWhenEmpty(wrappedValue: try self.decodeIfPresent(Value.self, forKey: key) ?? Value())
    }
}

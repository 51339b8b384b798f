// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshModel

/// One resource was refused: which field, and why.
package struct ResourceError: Error, Sendable, Hashable, CustomStringConvertible {
    package let field: String
    package let reason: String

    package init(_ field: String, _ reason: String) {
        self.field = field
        self.reason = reason
    }

    package var description: String { self.field.isEmpty ? self.reason : "\(self.field): \(self.reason)" }
}

/// Checks that several codecs share.
enum Field {
    /// Elements in one repeated field.
    static let maximumCount = 65_536

    static func name(_ text: String, _ field: String) throws(ResourceError) -> String {
        guard SPIFFEID.isValidSegment(text) else {
            throw ResourceError(field, text.isEmpty ? "is missing" : "\"\(text.prefix(64))\" is not a valid name")
        }
        return text
    }

    static func address(_ bytes: Data, _ field: String) throws(ResourceError) -> IPAddress {
        guard let address = IPAddress(bytes: bytes) else {
            throw ResourceError(field, "has \(bytes.count) bytes; an IP address has 4 or 16")
        }
        return address
    }

    static func prefix(_ bytes: Data, length: UInt32, _ field: String) throws(ResourceError) -> IPPrefix {
        let address = try self.address(bytes, field)
        guard let length = Int(exactly: length), let prefix = IPPrefix(address: address, length: length) else {
            throw ResourceError(field, "a prefix length of \(length) is too long for \(address)")
        }
        return prefix
    }

    static func port(_ value: UInt32, _ field: String) throws(ResourceError) -> UInt16 {
        guard let port = UInt16(exactly: value), port != 0 else {
            throw ResourceError(field, "\(value) is not a port (1 to 65535)")
        }
        return port
    }

    static func list<Element, Value>(
        _ elements: [Element], _ field: String, _ convert: (Element, String) throws(ResourceError) -> Value
    ) throws(ResourceError) -> [Value] {
        guard elements.count <= self.maximumCount else {
            throw ResourceError(field, "has \(elements.count) elements, more than \(self.maximumCount)")
        }
        var values: [Value] = []
        values.reserveCapacity(elements.count)
        for (index, element) in elements.enumerated() { values.append(try convert(element, "\(field)[\(index)]")) }
        return values
    }

    static func absent(_ isPresent: Bool, _ field: String) throws(ResourceError) {
        // Ignoring any of these would send traffic another way than its operator wants.
        guard !isPresent else { throw ResourceError(field, "is not supported by this node") }
    }
}

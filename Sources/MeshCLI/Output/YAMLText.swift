// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Yams

/// A JSON body as YAML.
package enum YAMLText {
    /// - Parameter asDocuments: write the elements of an array as documents of their own, the form that `apply` takes.
    package static func text(_ body: Data, asDocuments: Bool = false) throws(CLIError) -> String {
        do {
            let value = try AdminJSON.decoder.decode(JSONValue.self, from: body)
            if asDocuments, case .array(let elements) = value {
                return try elements.map { "---\n" + (try Self.serialized($0)) }.joined()
            }
            return try Self.serialized(value)
        } catch {
            throw CLIError("the answer is not JSON: \(error)", hints: ["See the raw answer: -o json"])
        }
    }

    private static func serialized(_ value: JSONValue) throws -> String {
        try Yams.serialize(node: Self.node(value), width: -1, allowUnicode: true)
    }

    private static func node(_ value: JSONValue) -> Node {
        switch value {
        case .null: Self.scalar(NSNull())
        case .bool(let value): Self.scalar(value)
        case .integer(let value): Self.scalar(value)
        case .unsigned(let value): Self.scalar(value)
        case .number(let value): Self.scalar(value)
        case .string(let value): Self.scalar(value)
        case .array(let elements):
            Node(elements.map(Self.node), .implicit, elements.isEmpty ? .flow : .block)
        case .object(let members):
            Node(
                members.sorted { Self.precedes($0.key, $1.key) }.map { (Self.scalar($0.key), Self.node($0.value)) },
                .implicit, members.isEmpty ? .flow : .block)
        }
    }

    /// A text that would read back as another type is quoted, which `Node(String)` does not do.
    private static func scalar(_ value: some ScalarRepresentable) -> Node { .scalar(value.represented()) }

    /// Resources read best in the order people write them; everything else is alphabetical.
    private static func precedes(_ left: String, _ right: String) -> Bool {
        let order = ["apiVersion", "kind", "metadata"]
        let rank = { (key: String) in order.firstIndex(of: key) ?? order.count }
        return (rank(left), left) < (rank(right), right)
    }
}

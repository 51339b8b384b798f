// SPDX-License-Identifier: Apache-2.0

package import MeshModel

/// What names a resource: no two have the same.
package struct ResourceKey: Codable, Hashable, Sendable, Comparable {
    package let kind: ResourceKind
    package let namespace: String
    package let name: String

    package init(kind: ResourceKind, namespace: String, name: String) {
        self.kind = kind
        self.namespace = namespace
        self.name = name
    }

    package var id: NamespacedName { NamespacedName(namespace: self.namespace, name: self.name) }

    package static func < (left: Self, right: Self) -> Bool {
        (left.kind.rawValue, left.namespace, left.name) < (right.kind.rawValue, right.namespace, right.name)
    }
}

extension ResourceKey: CustomStringConvertible {
    package var description: String { "\(self.kind.rawValue) \(self.namespace)/\(self.name)" }
}

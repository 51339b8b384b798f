// SPDX-License-Identifier: Apache-2.0

/// The name of a namespaced thing; unique in the mesh within its kind.
package struct NamespacedName: Hashable, Sendable, Comparable {
    package let namespace: String
    package let name: String

    package init(namespace: String, name: String) {
        self.namespace = namespace
        self.name = name
    }

    package static func < (left: Self, right: Self) -> Bool {
        (left.namespace, left.name) < (right.namespace, right.name)
    }
}

extension NamespacedName: LosslessStringConvertible {
    /// Parses `namespace/name`.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else { return nil }
        self.init(namespace: String(parts[0]), name: String(parts[1]))
    }

    package var description: String { "\(self.namespace)/\(self.name)" }
}

/// A workload's name: unique in the mesh.
package typealias WorkloadID = NamespacedName

// SPDX-License-Identifier: Apache-2.0

package import MeshModel

/// The part that every resource has.
package struct ResourceMetadata: Codable, Hashable, Sendable {
    package var name: String
    package var namespace: String
    @OmittedWhenEmpty package var labels: [String: String]
    @OmittedWhenEmpty package var annotations: [String: String]

    package init(
        name: String, namespace: String = "default", labels: [String: String] = [:],
        annotations: [String: String] = [:]
    ) {
        self.name = name
        self.namespace = namespace
        self.labels = labels
        self.annotations = annotations
    }

    package var id: NamespacedName { NamespacedName(namespace: self.namespace, name: self.name) }
}

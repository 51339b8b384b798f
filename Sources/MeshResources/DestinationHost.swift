// SPDX-License-Identifier: Apache-2.0

package import MeshModel

/// The services that the `host` of a DestinationRule names.
package enum DestinationHost: Hashable, Sendable {
    case service(NamespacedName)
    /// Every service of that namespace: `*.shop.mesh.internal`.
    case namespace(String)
    /// Every service: `*`, `*.mesh.internal` or `*.local`.
    case mesh

    private static let domains = [["mesh", "internal"], ["svc", "cluster", "local"]]

    /// nil when the text names nothing that could be a service.
    ///
    /// - Parameter namespace: of the rule: a name without one is of the same.
    package init?(_ text: String, namespace: String) {
        var labels = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        let domain = Self.domains.first { labels.count > $0.count && Array(labels.suffix($0.count)) == $0 }
        if let domain {
            labels.removeLast(domain.count)
        } else if labels.count == 3, labels[2] == "svc" {
            labels.removeLast()
        }
        if text == "*.local" { labels = ["*"] }
        let isPattern = labels.first == "*"
        guard labels.dropFirst(isPattern ? 1 : 0).allSatisfy({ NameRules.label($0) == nil }) else { return nil }
        switch (labels.count, isPattern) {
        case (1, true): self = .mesh
        case (2, true): self = .namespace(labels[1])
        // With a domain a name is whole, so it has a namespace.
        case (1, false) where domain == nil:
            self = .service(NamespacedName(namespace: namespace, name: labels[0]))
        case (2, false): self = .service(NamespacedName(namespace: labels[1], name: labels[0]))
        default: return nil
        }
    }

    /// The one whose services are meant; nil: all.
    package var namespace: String? {
        switch self {
        case .service(let id): id.namespace
        case .namespace(let name): name
        case .mesh: nil
        }
    }
}

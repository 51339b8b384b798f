// SPDX-License-Identifier: Apache-2.0

/// Facts that hold for the whole mesh.
package struct MeshSettings: Hashable, Sendable {
    package var trustDomain: String
    /// Inside these a captured destination must be resolved; outside a connect is left alone.
    package var prefixes: [IPPrefix]
    /// PEM roots.
    package var trustBundle: [String]
    /// Policies in this namespace hold for the whole mesh.
    package var rootNamespace: String
    /// Seconds: a node whose view is older refuses new connections; nil: never.
    package var maxStaleness: Int?
    /// `sha256:<hex>` of the root that signs now; nil: not told. Certificates that lead to another are to be renewed.
    package var issuingRoot: String?

    package init(
        trustDomain: String, prefixes: [IPPrefix], trustBundle: [String], rootNamespace: String,
        maxStaleness: Int? = nil, issuingRoot: String? = nil
    ) {
        self.maxStaleness = maxStaleness
        self.issuingRoot = issuingRoot
        self.trustDomain = trustDomain
        self.prefixes = prefixes
        self.trustBundle = trustBundle
        self.rootNamespace = rootNamespace
    }
}

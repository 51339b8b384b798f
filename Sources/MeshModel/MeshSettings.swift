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

    package init(trustDomain: String, prefixes: [IPPrefix], trustBundle: [String], rootNamespace: String) {
        self.trustDomain = trustDomain
        self.prefixes = prefixes
        self.trustBundle = trustBundle
        self.rootNamespace = rootNamespace
    }
}

// SPDX-License-Identifier: Apache-2.0

package import MeshModel

/// `security.istio.io/v1` PeerAuthentication: whether plaintext from outside the mesh is accepted.
package struct PeerAuthenticationResource: Codable, Hashable, Sendable {
    package enum Mode: String, Codable, Hashable, Sendable, CaseIterable {
        /// As the wider scope says.
        case unset = "UNSET"
        case permissive = "PERMISSIVE"
        case strict = "STRICT"
    }

    package struct MutualTLS: Codable, Hashable, Sendable {
        /// nil: `UNSET`.
        package var mode: Mode?

        package init(mode: Mode? = nil) { self.mode = mode }
    }

    package struct Spec: Codable, Hashable, Sendable {
        package var selector: LabelSelector?
        package var mtls: MutualTLS?
        /// By the port that the application listens on.
        @OmittedWhenEmpty package var portLevelMtls: [String: MutualTLS]

        package init(
            selector: LabelSelector? = nil, mtls: MutualTLS? = nil, portLevelMtls: [String: MutualTLS] = [:]
        ) {
            self.selector = selector
            self.mtls = mtls
            self.portLevelMtls = portLevelMtls
        }
    }

    package private(set) var apiVersion = ResourceKind.peerAuthentication.apiVersion
    package private(set) var kind = ResourceKind.peerAuthentication
    package var metadata: ResourceMetadata
    package var spec: Spec

    package init(metadata: ResourceMetadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
    }

    package var id: NamespacedName { self.metadata.id }

    var mode: Mode { self.spec.mtls?.mode ?? .unset }

    /// Without a selector it is for a whole namespace, or in the root namespace for the whole mesh.
    var hasSelector: Bool { self.spec.selector.map { !$0.matchLabels.isEmpty } ?? false }
}

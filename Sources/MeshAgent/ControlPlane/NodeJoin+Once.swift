// SPDX-License-Identifier: Apache-2.0

import MeshConfiguration
import MeshIdentity

extension NodeJoin {
    /// Joins as configured, unless the node has joined this mesh already.
    ///
    /// - Returns: the node's identity.
    /// - Throws: `.alreadyJoined` when it belongs to another mesh than the fingerprint's.
    package static func once(_ configuration: AgentConfiguration) async throws(ControlPlaneError) -> String {
        guard let address = configuration.controlPlane else {
            throw ControlPlaneError(.notJoined, "controlPlane: missing")
        }
        let store = NodeCredentialStore(directory: configuration.dataDirectory)
        let credentials = try await NodeJoin(store: store, dialler: GRPCControlPlane(address: address)).credentials(
            node: configuration.node, token: configuration.joinToken, fingerprint: configuration.caFingerprint)
        if let fingerprint = configuration.caFingerprint.flatMap({ CertificateFingerprint($0) }),
            !credentials.bundle.roots.contains(where: { (try? CertificateFingerprint($0)) == fingerprint })
        {
            throw ControlPlaneError(
                .alreadyJoined,
                "this node belongs to another mesh, as \(credentials.svid.identity), whose root is not \(fingerprint)")
        }
        return "\(credentials.svid.identity)"
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshIdentity
import MeshModel

/// Who this node is to its control plane, and whom it trusts.
package struct NodeCredentials: Sendable {
    package var node: String
    package var svid: SVID
    package var bundle: TrustBundle

    package var trustDomain: String { self.svid.identity.trustDomain }

    package init(node: String, svid: SVID, bundle: TrustBundle) {
        self.node = node
        self.svid = svid
        self.bundle = bundle
    }
}

/// Keeps the node's credentials in its data directory (mode 0700): `node.pem` has the certificate and its key in one
/// file, so that a crash while renewing never leaves one without the other; `trust-bundle.pem` has the roots.
package struct NodeCredentialStore: Sendable {
    package let directory: String

    package init(directory: String) { self.directory = directory }

    private var certificatePath: String { "\(self.directory)/node.pem" }
    private var bundlePath: String { "\(self.directory)/trust-bundle.pem" }
    private static let keyMark = "-----BEGIN PRIVATE KEY-----"

    /// What was kept; nil when the node never joined. A certificate that has ended, or has not begun by this clock, is
    /// given too: the node's workloads are not to wait for it.
    ///
    /// - Parameter node: the configured name; credentials of another name are refused.
    package func load(node: String, now: Date) async throws(ControlPlaneError) -> NodeCredentials? {
        guard let text = try SecretFile.read(self.certificatePath) else { return nil }
        guard let roots = try SecretFile.read(self.bundlePath), let mark = text.range(of: Self.keyMark) else {
            throw self.unusable("is incomplete")
        }
        do throws(IdentityError) {
            let bundle = try TrustBundle(pem: [roots])
            let chain = String(text[..<mark.lowerBound])
            let identity = try SVID.identity(ofChain: chain)
            guard identity.subject == .node(node) else {
                throw IdentityError(.wrongNames, "names \(identity), but this node is called \(node)")
            }
            let validity = try SVID.validity(ofChain: chain)
            let svid = try await SVID(
                identity: identity, chainPEM: [chain], key: IdentityKey(pem: String(text[mark.lowerBound...])),
                bundle: bundle, now: min(max(now, validity.lowerBound), validity.upperBound))
            return NodeCredentials(node: node, svid: svid, bundle: bundle)
        } catch {
            throw self.unusable(error.message)
        }
    }

    package func save(_ credentials: NodeCredentials) throws(ControlPlaneError) {
        try SecretFile.prepare(directory: self.directory)
        // The bundle first: node.pem is what says that the node has joined.
        try SecretFile.write(credentials.bundle.pem.joined(), to: self.bundlePath)
        try SecretFile.write(credentials.svid.chainText + credentials.svid.key.pem + "\n", to: self.certificatePath)
    }

    private func unusable(_ reason: String) -> ControlPlaneError {
        ControlPlaneError(
            .storage,
            "\(self.certificatePath) \(reason); to join anew, remove it and start with a new --join-token")
    }
}

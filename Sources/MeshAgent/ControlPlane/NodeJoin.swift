// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshIdentity
import MeshModel

/// How a node gets its first identity.
package struct NodeJoin: Sendable {
    private let store: NodeCredentialStore
    private let dialler: any ControlPlaneDialler
    let clock: any AgentClock

    package init(store: NodeCredentialStore, dialler: any ControlPlaneDialler, clock: any AgentClock = SystemClock()) {
        self.store = store
        self.dialler = dialler
        self.clock = clock
    }

    /// The kept credentials; without any, joins with a token, which also needs the fingerprint. A token that is left
    /// over from joining is not used again.
    package func credentials(
        node: String, token: String?, fingerprint: String?
    ) async throws(ControlPlaneError) -> NodeCredentials {
        if let kept = try await self.store.load(node: node, now: self.clock.now) { return kept }
        guard let token, let fingerprint else {
            throw ControlPlaneError(
                .notJoined,
                "this node has not joined the mesh: start it with --join-token (or --join-token-file) and --ca-fingerprint"
            )
        }
        return try await self.join(node: node, token: token, fingerprint: fingerprint)
    }

    /// Exchanges a token for credentials and keeps them.
    package func join(
        node: String, token: String, fingerprint text: String
    ) async throws(ControlPlaneError) -> NodeCredentials {
        if let kept = try await self.store.load(node: node, now: self.clock.now) {
            throw ControlPlaneError(
                .alreadyJoined, "this node has already joined as \(kept.svid.identity); remove its data to join anew")
        }
        return try await self.exchange(token, node: node, fingerprint: text)
    }

    /// Exchanges a token for credentials that take the place of those there are, whatever they are worth.
    package func exchange(
        _ token: String, node: String, fingerprint text: String
    ) async throws(ControlPlaneError) -> NodeCredentials {
        guard let fingerprint = CertificateFingerprint(text) else {
            throw ControlPlaneError(
                .notJoined, "\"\(text.prefix(80))\" is not a CA fingerprint: sha256: and 64 hexadecimal digits")
        }
        guard SPIFFEID.isValidSegment(node) else {
            throw ControlPlaneError(.notJoined, "\"\(node)\" cannot be a node's name: letters, digits, dots, dashes")
        }
        // A data directory that cannot be written must not cost the token.
        try SecretFile.prepare(directory: self.store.directory)
        let key = IdentityKey()
        let request: String
        do {
            request = try SigningRequest.make(key: key, identity: nil)
        } catch {
            throw ControlPlaneError(.storage, error.message)
        }
        let grant = try await self.dialler.join(token: token, node: node, csrPEM: request, fingerprint: fingerprint)
        let credentials = try await self.check(grant, node: node, key: key, fingerprint: fingerprint)
        // Of what an earlier identity of this node was told nothing counts, nor how new its control plane's store was.
        ViewStore.clear(directory: self.store.directory)
        try self.store.save(credentials)
        return credentials
    }

    private func check(
        _ grant: JoinGrant, node: String, key: IdentityKey, fingerprint: CertificateFingerprint
    ) async throws(ControlPlaneError) -> NodeCredentials {
        do throws(IdentityError) {
            let bundle = try TrustBundle(pem: grant.bundle)
            var isPinned = false
            for root in bundle.roots where try CertificateFingerprint(root) == fingerprint { isPinned = true }
            guard isPinned else {
                throw IdentityError(.untrusted, "its trust bundle does not hold the root \(fingerprint)")
            }
            let identity = try SVID.identity(ofChain: grant.chain.first ?? "")
            guard identity.subject == .node(node) else {
                throw IdentityError(.wrongNames, "its certificate names \(identity), not this node")
            }
            let svid = try await SVID(
                identity: identity, chainPEM: grant.chain, key: key, bundle: bundle, now: self.clock.now)
            return NodeCredentials(node: node, svid: svid, bundle: bundle)
        } catch {
            throw ControlPlaneError(.badAnswer, "the control plane's answer to joining is unusable: \(error.message)")
        }
    }
}

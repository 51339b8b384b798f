// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import MeshIdentity
import MeshModel
import MeshStore
import X509

/// A node that proved who it is.
struct AuthenticatedNode: Sendable, Hashable {
    var name: String
    /// See ``NodeRecord/joinID``.
    var joinID: String
    /// The end of the certificate it presented.
    var notAfter: Date
}

/// Decides from a connection's client certificate which node calls.
struct NodeAuthenticator: Sendable {
    let store: Store
    let trustDomain: String
    let metrics: ControlMetrics

    /// Throws `unauthenticated` unless the certificate, which TLS has verified, is one that this control plane issued
    /// to a node that still exists.
    func authenticate(_ context: ServerContext) async throws -> AuthenticatedNode {
        let transport = context.transportSpecific as? HTTP2ServerTransport.Posix.Context
        return try await self.authenticate(transport?.peerCertificate, now: Date())
    }

    func authenticate(_ certificate: Certificate?, now: Date) async throws -> AuthenticatedNode {
        guard let certificate else {
            throw self.refuse(.noCertificate, "this call needs the node's certificate: join first")
        }
        guard let identity = try? certificate.spiffeID(), identity.trustDomain == self.trustDomain,
            case .node(let name) = identity.subject
        else { throw self.refuse(.wrongCertificate, "the certificate is not a node's of \(self.trustDomain)") }
        // The connection may be older than the certificate's end.
        guard now < certificate.notValidAfter else {
            throw self.refuse(.voidCertificate, "the certificate of the node \(name) has expired: join again")
        }
        let node: NodeRecord?
        do {
            node = try await self.store.node(name, presenting: certificate.serialText)
        } catch {
            throw RPCError(code: .unavailable, message: "the control plane cannot read its store")
        }
        guard let node else {
            throw self.refuse(
                .voidCertificate,
                "the node \(name) was deleted, or has joined again with another certificate: join it again")
        }
        return AuthenticatedNode(name: name, joinID: node.joinID, notAfter: certificate.notValidAfter)
    }

    private func refuse(_ reason: ControlMetrics.Refusal, _ message: String) -> RPCError {
        self.metrics.refused(reason)
        return RPCError(code: .unauthenticated, message: message)
    }
}

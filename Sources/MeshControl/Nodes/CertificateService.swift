// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRPCCore
import Logging
import MeshAPI
import MeshIdentity
import MeshModel
import MeshStore
import SwiftProtobuf

/// Issues the identities of workloads to the nodes that run them, and renews those of nodes.
struct CertificateService: Istio_V1_Auth_IstioCertificateService.SimpleServiceProtocol {
    let authenticator: NodeAuthenticator
    let issuer: Issuer

    func createCertificate(
        request: Istio_V1_Auth_IstioCertificateRequest, context: ServerContext
    ) async throws -> Istio_V1_Auth_IstioCertificateResponse {
        let node = try await self.authenticator.authenticate(context)
        var response = Istio_V1_Auth_IstioCertificateResponse()
        response.certChain = try await self.issue(request, to: node)
        return response
    }

    /// - Returns: PEM, leaf first, root last.
    func issue(_ request: Istio_V1_Auth_IstioCertificateRequest, to node: AuthenticatedNode) async throws -> [String] {
        let identity = try self.identity(request, node)
        let account: NamespacedName?
        switch identity.subject {
        case .node(let name):
            guard name == node.name else {
                throw self.deny(identity, node, "the node \(node.name) cannot have the identity of another node")
            }
            account = nil
        case .workload(let namespace, let serviceAccount):
            let wanted = NamespacedName(namespace: namespace, name: serviceAccount)
            do {
                guard try await self.issuer.store.runs(node: node.name, account: wanted) else {
                    throw self.deny(
                        identity, node,
                        "the node \(node.name) runs no workload with the service account \(wanted): enrol one first")
                }
            } catch let error as StoreError {
                throw error.rpcError
            }
            account = wanted
        }
        let validity = request.validityDuration > 0 ? TimeInterval(request.validityDuration) : nil
        try self.issuer.charge(node.name)
        let certificate = try self.issuer.sign(request.csr, for: identity, validity: validity)
        let record = self.issuer.record(certificate, for: identity, node: node.name)
        do {
            // Asks once more, now that nothing can come between.
            try await self.issuer.store.logCertificate(record, joinID: node.joinID, account: account, now: Date())
        } catch {
            if error.code == .conflict { throw self.deny(identity, node, error.message) }
            throw error.rpcError
        }
        self.issuer.issued(record, account == nil ? .node : .workload)
        return certificate.chainPEM
    }

    /// Whose certificate is asked for; nothing named: the node's own.
    private func identity(
        _ request: Istio_V1_Auth_IstioCertificateRequest, _ node: AuthenticatedNode
    ) throws -> SPIFFEID {
        let text = request.metadata.fields["ImpersonatedIdentity"]?.stringValue ?? ""
        let trustDomain = self.issuer.authorities.authorities.active.trustDomain
        if text.isEmpty, let own = SPIFFEID(trustDomain: trustDomain, subject: .node(node.name)) { return own }
        guard let identity = SPIFFEID(text), identity.trustDomain == trustDomain else {
            throw RPCError(
                code: .invalidArgument,
                message: "ImpersonatedIdentity is not spiffe://\(trustDomain)/ns/NAMESPACE/sa/ACCOUNT or "
                    + "spiffe://\(trustDomain)/node/NAME")
        }
        return identity
    }

    private func deny(_ identity: SPIFFEID, _ node: AuthenticatedNode, _ message: String) -> RPCError {
        self.issuer.metrics.refused(.identity)
        self.issuer.logger.warning(
            "a node asked for an identity it may not have",
            metadata: ["node.id": "\(node.name)", "identity": "\(identity)", "reason": "\(message)"])
        return RPCError(code: .permissionDenied, message: message)
    }
}

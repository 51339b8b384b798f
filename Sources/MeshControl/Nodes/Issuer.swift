// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRPCCore
import Logging
import MeshIdentity
import MeshModel
import MeshStore

/// Signs what a caller is entitled to, and logs it before it leaves.
struct Issuer: Sendable {
    let store: Store
    let authorities: AuthorityKeeper
    /// Seconds, of workloads; also the most that a caller gets.
    let validity: @Sendable () -> TimeInterval
    /// Seconds, of nodes.
    let nodeValidity: @Sendable () -> TimeInterval
    let budget = IssueBudget()
    let metrics: ControlMetrics
    let logger: Logger

    func sign(_ csr: String, for identity: SPIFFEID, validity: TimeInterval?) throws -> IssuedCertificate {
        let most =
            switch identity.subject {
            case .node: self.nodeValidity()
            case .workload: self.validity()
            }
        do {
            return try self.authorities.authorities.active.sign(
                csrPEM: csr, identity: identity, validity: min(validity ?? most, most), now: Date())
        } catch {
            self.metrics.refused(.signingRequest)
            self.logger.warning(
                "a signing request was refused", metadata: ["identity": "\(identity)", "error": "\(error)"])
            throw RPCError(code: .invalidArgument, message: error.message)
        }
    }

    /// - Throws: when the node has had more signed than any node needs.
    func charge(_ node: String) throws {
        guard self.budget.take(node, validity: self.validity(), now: .now) else {
            self.metrics.refused(.issueBudget)
            self.logger.warning("a node asks for more certificates than it can need", metadata: ["node.id": "\(node)"])
            throw RPCError(
                code: .resourceExhausted, message: "the node \(node) had too many certificates signed: wait")
        }
    }

    func record(_ certificate: IssuedCertificate, for identity: SPIFFEID, node: String) -> CertificateRecord {
        CertificateRecord(
            serial: certificate.serial, identity: identity.description, node: node, notBefore: certificate.notBefore,
            notAfter: certificate.notAfter)
    }

    func issued(_ record: CertificateRecord, _ kind: ControlMetrics.CertificateKind) {
        self.metrics.issued(kind)
        self.logger.info(
            "a certificate was issued",
            metadata: [
                "identity": "\(record.identity)", "node.id": "\(record.node)", "serial": "\(record.serial)",
                "expires": "\(record.notAfter)",
            ])
    }
}

extension StoreError {
    /// The store's refusal as an answer to a node.
    var rpcError: RPCError {
        switch self.code {
        case .tokenRefused: RPCError(code: .unauthenticated, message: self.message)
        case .notFound: RPCError(code: .unauthenticated, message: self.message)
        case .conflict: RPCError(code: .permissionDenied, message: self.message)
        case .full: RPCError(code: .resourceExhausted, message: self.message)
        case .corrupt, .foreign, .unavailable:
            RPCError(code: .unavailable, message: "the control plane cannot use its store")
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Foundation
import MeshIdentity
import MeshModel
import MeshTunnel
import Testing

/// A mesh authority for one test.
struct TestAuthority {
    let authority: CertificateAuthority
    let trustDomain: String

    init(trustDomain: String = "mesh.test") throws {
        self.trustDomain = trustDomain
        self.authority = try CertificateAuthority.create(
            trustDomain: trustDomain, now: Date().addingTimeInterval(-30 * 86400))
    }

    func id(_ namespace: String, _ account: String) throws -> SPIFFEID {
        try #require(
            SPIFFEID(
                trustDomain: self.trustDomain, subject: .workload(namespace: namespace, serviceAccount: account)))
    }

    /// Chain and key as PEM.
    func certificate(
        _ id: SPIFFEID, from start: TimeInterval = 0, validity: TimeInterval = 3600
    ) throws -> (chain: String, key: String) {
        let key = IdentityKey()
        let issued = try self.authority.sign(
            csrPEM: try SigningRequest.make(key: key, identity: id), identity: id, validity: validity,
            now: Date().addingTimeInterval(start))
        return (issued.chainPEM.joined(separator: "\n"), key.pem)
    }

    /// - Parameter trusting: whose certificates it accepts; nil: its own authority's.
    func identity(
        _ namespace: String, _ account: String, from start: TimeInterval = 0, validity: TimeInterval = 3600,
        trusting: TestAuthority? = nil
    ) throws -> TLSIdentity {
        let (chain, key) = try self.certificate(
            try self.id(namespace, account), from: start, validity: validity)
        return try TLSIdentity(
            certificateChainPEM: chain, privateKeyPEM: key,
            trustBundlePEM: try (trusting ?? self).authority.rootPEM())
    }
}

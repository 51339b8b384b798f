// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshModel
import SwiftASN1
@_spi(FixedExpiryValidationTime) import X509

/// Whom a presented chain must belong to.
package enum ExpectedPeer: Sendable, Hashable {
    /// A workload or a node, proven by one SPIFFE ID, for either side of a connection.
    case peer
    /// The mesh's control plane, as the server of a connection.
    case controlPlane
}

extension TrustBundle {
    /// Verifies a chain as a peer presented it (leaf first; roots in it are not trusted for being there).
    ///
    /// - Returns: the verified chain, leaf first, root last.
    package func verify(
        chain: [Certificate], as expected: ExpectedPeer, now: Date
    ) async throws(IdentityError) -> [Certificate] {
        guard let leaf = chain.first, chain.count <= PEMLimits.certificates else {
            throw IdentityError(.malformed, "the peer presented \(chain.count) certificates")
        }
        var verifier = Verifier(rootCertificates: CertificateStore(self.roots)) {
            RFC5280Policy(fixedExpiryValidationTime: now)
            LeafPolicy(expected: expected)
        }
        switch await verifier.validate(leaf: leaf, intermediates: CertificateStore(chain.dropFirst())) {
        case .validCertificate(let chain):
            return Array(chain)
        case .couldNotValidate(let failures):
            if now < leaf.notValidBefore || now > leaf.notValidAfter {
                throw IdentityError(
                    .badValidity,
                    "the certificate is valid from \(leaf.notValidBefore) to \(leaf.notValidAfter): check the clocks"
                )
            }
            let reasons = failures.map { $0.policyFailureReason.description }.joined(separator: "; ")
            throw IdentityError(
                .untrusted,
                reasons.isEmpty ? "the certificate leads to no root of the trust bundle" : reasons)
        }
    }
}

extension Certificate {
    /// The one SPIFFE ID a workload's or node's certificate names (X509-SVID §2: exactly one URI name).
    package func spiffeID() throws(IdentityError) -> SPIFFEID {
        let names = (try? self.extensions.subjectAlternativeNames).map { Array($0) } ?? []
        guard names.count == 1, case .uniformResourceIdentifier(let text) = names[0] else {
            throw IdentityError(.wrongNames, "the certificate does not name exactly one URI")
        }
        guard let identity = SPIFFEID(text) else {
            throw IdentityError(.wrongNames, "the certificate's URI is not a SPIFFE ID of a workload or a node")
        }
        return identity
    }
}

/// What this mesh asks of a leaf beyond RFC 5280.
private struct LeafPolicy: VerifierPolicy {
    let expected: ExpectedPeer

    var verifyingCriticalExtensions: [ASN1ObjectIdentifier] {
        [.X509ExtensionID.subjectAlternativeName, .X509ExtensionID.extendedKeyUsage]
    }

    mutating func chainMeetsPolicyRequirements(chain: UnverifiedCertificateChain) async -> PolicyEvaluationResult {
        let leaf = chain.leaf
        if case .isCertificateAuthority? = try? leaf.extensions.basicConstraints {
            return .failsToMeetPolicy(reason: "the peer's certificate is an authority's")
        }
        let usages = (try? leaf.extensions.extendedKeyUsage).map { Array($0) } ?? []
        switch self.expected {
        case .peer:
            guard usages.contains(.serverAuth), usages.contains(.clientAuth) else {
                return .failsToMeetPolicy(reason: "the peer's certificate is not for both sides of a connection")
            }
            do {
                _ = try leaf.spiffeID()
            } catch {
                return .failsToMeetPolicy(reason: error.message)
            }
        case .controlPlane:
            let names = (try? leaf.extensions.subjectAlternativeNames).map { Array($0) } ?? []
            guard usages.contains(.serverAuth), names.contains(.dnsName(CertificateAuthority.controlPlaneName)) else {
                return .failsToMeetPolicy(reason: "the server's certificate is not a control plane's")
            }
        }
        return .meetsPolicy
    }
}

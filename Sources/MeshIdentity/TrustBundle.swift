// SPDX-License-Identifier: Apache-2.0

import X509

/// The roots a mesh trusts; at least one.
package struct TrustBundle: Sendable, Hashable {
    package let roots: [Certificate]
    /// One PEM text for each root, in the same order.
    package let pem: [String]
    /// Of the roots.
    package let fingerprints: Set<CertificateFingerprint>

    /// Every certificate must be a self-signed root; repeated ones are dropped.
    package init(_ certificates: [Certificate]) throws(IdentityError) {
        var roots: [Certificate] = []
        for certificate in certificates where !roots.contains(certificate) {
            guard certificate.isRoot else {
                throw IdentityError(
                    .untrusted, "the trust bundle holds \"\(certificate.subject)\", which is not a self-signed root")
            }
            roots.append(certificate)
        }
        guard (1...PEMLimits.certificates).contains(roots.count) else {
            throw IdentityError(
                .malformed, "a trust bundle has 1 to \(PEMLimits.certificates) roots, not \(roots.count)")
        }
        self.roots = roots
        var pem: [String] = []
        var fingerprints: Set<CertificateFingerprint> = []
        for root in roots {
            pem.append(try root.pem())
            fingerprints.insert(try CertificateFingerprint(root))
        }
        self.pem = pem
        self.fingerprints = fingerprints
    }

    /// From PEM texts, each of one or more certificates.
    package init(pem texts: [String]) throws(IdentityError) {
        guard texts.count <= PEMLimits.certificates else {
            throw IdentityError(.malformed, "a trust bundle has at most \(PEMLimits.certificates) roots")
        }
        var certificates: [Certificate] = []
        for text in texts { certificates += try Certificate.parse(pem: text) }
        try self.init(certificates)
    }

    /// The root with a known fingerprint, from the certificates a server presented. Only the fingerprint makes it
    /// trusted: verify the server's chain against the result.
    package static func pinned(
        to fingerprint: CertificateFingerprint, presented: [Certificate]
    ) throws(IdentityError) -> TrustBundle {
        var roots: [CertificateFingerprint] = []
        for certificate in presented.prefix(PEMLimits.certificates) where certificate.isRoot {
            let own = try CertificateFingerprint(certificate)
            if own == fingerprint { return try TrustBundle([certificate]) }
            roots.append(own)
        }
        let found = roots.isEmpty ? "no root certificate" : roots.map(\.description).joined(separator: ", ")
        throw IdentityError(.untrusted, "the server presented \(found); the expected root is \(fingerprint)")
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshModel
import X509

/// An X.509-SVID this process holds: an identity, the certificates that prove it and the private key.
package struct SVID: Sendable {
    package let identity: SPIFFEID
    /// PEM, leaf first. Roots are left out: peers have them.
    package let chainPEM: [String]
    package let key: IdentityKey
    /// The root that the chain leads to.
    package let issuer: CertificateFingerprint
    /// Lower-case hexadecimal.
    package let serial: String
    package let notBefore: Date
    package let notAfter: Date

    /// Checks that the leaf names exactly `identity` and belongs to `key`, and that the chain leads to `bundle`.
    package init(
        identity: SPIFFEID, chainPEM texts: [String], key: IdentityKey, bundle: TrustBundle, now: Date
    ) async throws(IdentityError) {
        guard texts.count <= PEMLimits.certificates else {
            throw IdentityError(.malformed, "the certificate chain is longer than \(PEMLimits.certificates)")
        }
        var chain: [Certificate] = []
        for text in texts { chain += try Certificate.parse(pem: text) }
        guard let leaf = chain.first else { throw IdentityError(.malformed, "the certificate chain is empty") }
        guard try leaf.spiffeID() == identity else {
            throw IdentityError(.wrongNames, "the certificate is for another identity than \(identity)")
        }
        guard key.matches(leaf) else {
            throw IdentityError(.keyMismatch, "the certificate for \(identity) belongs to another key")
        }
        guard let root = try await bundle.verify(chain: chain, as: .peer, now: now).last else {
            throw IdentityError(.untrusted, "the certificate leads to no root")
        }
        var pem: [String] = []
        for certificate in chain where !certificate.isRoot { pem.append(try certificate.pem()) }
        self.identity = identity
        self.issuer = try CertificateFingerprint(root)
        self.chainPEM = pem
        self.key = key
        self.serial = leaf.serialText
        self.notBefore = leaf.notValidBefore
        self.notAfter = leaf.notValidAfter
    }

    /// What the first certificate of a chain names, before anything is verified.
    package static func identity(ofChain pem: String) throws(IdentityError) -> SPIFFEID {
        guard let leaf = try Certificate.parse(pem: pem).first else {
            throw IdentityError(.malformed, "the certificate chain is empty")
        }
        return try leaf.spiffeID()
    }

    /// From when to when the first certificate of a chain is good, before anything is verified.
    package static func validity(ofChain pem: String) throws(IdentityError) -> ClosedRange<Date> {
        guard let leaf = try Certificate.parse(pem: pem).first, leaf.notValidBefore <= leaf.notValidAfter else {
            throw IdentityError(.malformed, "the certificate chain is empty, or its first certificate is never good")
        }
        return leaf.notValidBefore...leaf.notValidAfter
    }

    /// Leaf first, one text.
    package var chainText: String { self.chainPEM.joined() }

    /// Not over yet. One that does not begin before some time to come by this machine's clock is good all the same: its
    /// peers, whose clocks are right, take it.
    package func isUsable(at now: Date) -> Bool { now < self.notAfter }

    /// How much of its life is over, 0 to 1 and beyond.
    package func spent(at now: Date) -> Double {
        now.timeIntervalSince(self.start) / max(1, self.notAfter.timeIntervalSince(self.start))
    }

    /// Issuers backdate; counted from there a short life would be half over before it began.
    private var start: Date {
        let backdated = self.notBefore.addingTimeInterval(CertificateAuthority.backdate)
        return backdated < self.notAfter ? backdated : self.notBefore
    }

    package func isValid(at now: Date) -> Bool { self.notBefore <= now && now < self.notAfter }

    /// When to renew: half of the useful life, moved by up to a tenth of it so that many do not renew at once.
    ///
    /// - Parameter jitter: -1...1.
    package func renewalTime(jitter: Double) -> Date {
        let life = self.notAfter.timeIntervalSince(self.start)
        return self.start.addingTimeInterval(life * (0.5 + 0.1 * min(1, max(-1, jitter))))
    }
}

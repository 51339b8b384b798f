// SPDX-License-Identifier: Apache-2.0

import Crypto
import Foundation
import MeshModel
import SwiftASN1
import X509

/// The mesh's certificate authority: one self-signed root that signs leaves directly.
package struct CertificateAuthority: Sendable {
    /// Leaves start to be valid this long before they are made, for peers whose clocks are behind.
    package static let backdate: TimeInterval = 5 * 60
    /// A DNS name that stands in every server certificate of a control plane and in no other: clients recognise the
    /// control plane by it, whatever address they dialled.
    package static let controlPlaneName = "nodemesh-control"

    package let trustDomain: String
    package let root: Certificate
    private let key: IdentityKey

    /// Makes a new root, valid for ten years.
    package static func create(trustDomain: String, now: Date) throws(IdentityError) -> CertificateAuthority {
        guard SPIFFEID.isValidTrustDomain(trustDomain) else {
            throw IdentityError(
                .wrongNames, "\"\(trustDomain)\" is not a trust domain: lower-case letters, digits, .-_")
        }
        let key = IdentityKey()
        do {
            let name = try DistinguishedName {
                OrganizationName("nodemesh")
                CommonName("\(trustDomain.prefix(48)) root")
            }
            let publicKey = key.certificateKey.publicKey
            let identifier = SubjectKeyIdentifier(hash: publicKey)
            let root = try Certificate(
                version: .v3, serialNumber: Self.randomSerial(), publicKey: publicKey,
                notValidBefore: now.addingTimeInterval(-Self.backdate),
                notValidAfter: now.addingTimeInterval(3650 * 86400), issuer: name, subject: name,
                signatureAlgorithm: .ecdsaWithSHA256,
                extensions: Certificate.Extensions {
                    Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                    Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                    identifier
                    AuthorityKeyIdentifier(keyIdentifier: identifier.keyIdentifier)
                    SubjectAlternativeNames([.uniformResourceIdentifier("spiffe://\(trustDomain)")])
                }, issuerPrivateKey: key.certificateKey)
            return CertificateAuthority(trustDomain: trustDomain, root: root, key: key)
        } catch {
            throw IdentityError(.internalFailure, "the root certificate could not be made: \(error)")
        }
    }

    private init(trustDomain: String, root: Certificate, key: IdentityKey) {
        self.trustDomain = trustDomain
        self.root = root
        self.key = key
    }

    /// From what ``rootPEM()`` and ``keyPEM`` gave. The root must name its trust domain and belong to the key.
    package init(rootPEM: String, keyPEM: String) throws(IdentityError) {
        let certificates = try Certificate.parse(pem: rootPEM)
        guard let root = certificates.first, certificates.count == 1 else {
            throw IdentityError(
                .malformed, "the authority's file must hold one certificate, it has \(certificates.count)")
        }
        let key = try IdentityKey(pem: keyPEM)
        guard key.matches(root) else {
            throw IdentityError(.keyMismatch, "the authority's key does not belong to its certificate")
        }
        guard root.isRoot else {
            throw IdentityError(.untrusted, "the authority's certificate is not a self-signed root that may sign")
        }
        let names = (try? root.extensions.subjectAlternativeNames).map { Array($0) } ?? []
        guard names.count == 1, case .uniformResourceIdentifier(let text) = names[0], text.hasPrefix("spiffe://"),
            SPIFFEID.isValidTrustDomain(String(text.dropFirst("spiffe://".count)))
        else { throw IdentityError(.wrongNames, "the authority's certificate does not name one trust domain") }
        self.init(trustDomain: String(text.dropFirst("spiffe://".count)), root: root, key: key)
    }

    package func rootPEM() throws(IdentityError) -> String { try self.root.pem() }

    /// The private key, for the authority's own storage (mode 0600).
    package var keyPEM: String { self.key.pem }

    package func fingerprint() throws(IdentityError) -> CertificateFingerprint {
        try CertificateFingerprint(self.root)
    }

    package func trustBundle() throws(IdentityError) -> TrustBundle { try TrustBundle([self.root]) }

    /// Signs a request for one identity.
    ///
    /// The request proves possession of its key and gives nothing else: names, usage and times are set here. Whether
    /// the caller may have this identity is the caller's question to answer first.
    ///
    /// - Parameter validity: from `now` in seconds; shortened so as not to outlive the root.
    package func sign(
        csrPEM: String, identity: SPIFFEID, validity: TimeInterval, now: Date
    ) throws(IdentityError) -> IssuedCertificate {
        guard identity.trustDomain == self.trustDomain else {
            throw IdentityError(.wrongNames, "\(identity) is not in the trust domain \(self.trustDomain)")
        }
        let publicKey = try SigningRequest.publicKey(csrPEM: csrPEM, identity: identity)
        return try self.issue(
            publicKey: publicKey, commonName: nil, names: [.uniformResourceIdentifier(identity.description)],
            usages: [.serverAuth, .clientAuth], validity: validity, now: now)
    }

    /// Makes a key and a certificate for the control plane's own listeners.
    ///
    /// - Parameter names: DNS names and textual IP addresses, beside ``controlPlaneName``.
    package func makeServerCertificate(
        names: [String], validity: TimeInterval, now: Date
    ) throws(IdentityError) -> (certificate: IssuedCertificate, key: IdentityKey) {
        var seen: Set<String> = []
        let general = ([Self.controlPlaneName] + names).filter { seen.insert($0).inserted }.map { name in
            if let address = IPAddress(name) {
                GeneralName.ipAddress(.init(contentBytes: address.bytes[...]))
            } else {
                GeneralName.dnsName(name)
            }
        }
        let key = IdentityKey()
        let certificate = try self.issue(
            publicKey: key.certificateKey.publicKey, commonName: Self.controlPlaneName, names: general,
            usages: [.serverAuth], validity: validity, now: now)
        return (certificate, key)
    }

    private func issue(
        publicKey: Certificate.PublicKey, commonName: String?, names: [GeneralName],
        usages: [ExtendedKeyUsage.Usage], validity: TimeInterval, now: Date
    ) throws(IdentityError) -> IssuedCertificate {
        guard publicKey != self.root.publicKey else {
            throw IdentityError(.keyMismatch, "the authority does not certify its own key")
        }
        let notAfter = min(now.addingTimeInterval(validity), self.root.notValidAfter)
        guard validity >= 1, notAfter > now, self.root.notValidBefore <= now else {
            throw IdentityError(
                .badValidity, "a validity of \(validity) s is impossible: the root ends \(self.root.notValidAfter)")
        }
        let certificate: Certificate
        do {
            let subject = try DistinguishedName {
                OrganizationName("nodemesh")
                if let commonName { CommonName(commonName) }
            }
            let extensions = try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage(usages)
                SubjectKeyIdentifier(hash: publicKey)
                AuthorityKeyIdentifier(keyIdentifier: try self.root.extensions.subjectKeyIdentifier?.keyIdentifier)
                SubjectAlternativeNames(names)
            }
            certificate = try Certificate(
                version: .v3, serialNumber: Self.randomSerial(), publicKey: publicKey,
                notValidBefore: max(now.addingTimeInterval(-Self.backdate), self.root.notValidBefore),
                notValidAfter: notAfter, issuer: self.root.subject, subject: subject,
                signatureAlgorithm: .ecdsaWithSHA256, extensions: extensions,
                issuerPrivateKey: self.key.certificateKey)
        } catch {
            throw IdentityError(.internalFailure, "the certificate could not be signed: \(error)")
        }
        return IssuedCertificate(
            certificate: certificate, chainPEM: [try certificate.pem(), try self.root.pem()])
    }

    /// Sixteen random bytes, positive and without a leading zero (RFC 5280 §4.1.2.2).
    private static func randomSerial() -> Certificate.SerialNumber {
        var generator = SystemRandomNumberGenerator()
        var bytes = (0..<16).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        bytes[0] = bytes[0] & 0x3f | 0x40
        return Certificate.SerialNumber(bytes: bytes)
    }
}

/// A certificate that was just signed.
package struct IssuedCertificate: Sendable {
    package let certificate: Certificate
    /// PEM, leaf first, root last.
    package let chainPEM: [String]

    package var serial: String { self.certificate.serialText }
    package var notBefore: Date { self.certificate.notValidBefore }
    package var notAfter: Date { self.certificate.notValidAfter }
}

extension Certificate {
    /// Self-signed, and allowed to sign others.
    package var isRoot: Bool {
        guard self.subject == self.issuer, self.publicKey.isValidSignature(self.signature, for: self),
            case .isCertificateAuthority? = try? self.extensions.basicConstraints
        else { return false }
        // Absent means unrestricted (RFC 5280 §4.2.1.3).
        guard let usage = try? self.extensions.keyUsage else {
            return self.extensions[oid: .X509ExtensionID.keyUsage] == nil
        }
        return usage.keyCertSign
    }
}

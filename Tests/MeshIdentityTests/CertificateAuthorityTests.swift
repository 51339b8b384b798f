// SPDX-License-Identifier: Apache-2.0

import Crypto
import Foundation
import MeshModel
import SwiftASN1
import Testing
import X509

@testable import MeshIdentity

private let now = Date(timeIntervalSince1970: 1_800_000_000)

private func identity(_ text: String = "spiffe://mesh.internal/ns/shop/sa/cart") throws -> SPIFFEID {
    try #require(SPIFFEID(text))
}

struct CertificateAuthorityTests {
    @Test func `a signed leaf has the profile and the chain verifies`() async throws {
        let authority = try CertificateAuthority.create(trustDomain: "mesh.internal", now: now)
        let key = IdentityKey()
        let id = try identity()
        let issued = try authority.sign(
            csrPEM: try SigningRequest.make(key: key, identity: id), identity: id, validity: 86400, now: now)
        let leaf = issued.certificate
        #expect(try leaf.spiffeID() == id)
        #expect(try leaf.extensions.keyUsage == KeyUsage(digitalSignature: true))
        #expect(try leaf.extensions.extendedKeyUsage.map { Set($0) } == [.serverAuth, .clientAuth])
        #expect(try leaf.extensions.basicConstraints == .notCertificateAuthority)
        #expect(
            try leaf.extensions.authorityKeyIdentifier?.keyIdentifier
                == authority.root.extensions.subjectKeyIdentifier?.keyIdentifier)
        #expect(issued.notBefore == now.addingTimeInterval(-300))
        #expect(issued.notAfter == now.addingTimeInterval(86400))
        #expect(issued.serial.count == 32)
        #expect(issued.chainPEM.count == 2)
        let bundle = try authority.trustBundle()
        let svid = try await SVID(identity: id, chainPEM: issued.chainPEM, key: key, bundle: bundle, now: now)
        #expect(svid.chainPEM.count == 1)
        #expect(svid.renewalTime(jitter: 0) == now.addingTimeInterval(43200))
        #expect(svid.renewalTime(jitter: -5) == now.addingTimeInterval(86400 * 0.4))
    }

    @Test func `an authority survives its PEM`() throws {
        let authority = try CertificateAuthority.create(trustDomain: "mesh.internal", now: now)
        let again = try CertificateAuthority(rootPEM: try authority.rootPEM(), keyPEM: authority.keyPEM)
        #expect(try again.fingerprint() == authority.fingerprint())
        #expect(again.trustDomain == "mesh.internal")
        #expect(try CertificateFingerprint("\(authority.fingerprint())") == authority.fingerprint())
        let other = try CertificateAuthority.create(trustDomain: "mesh.internal", now: now)
        #expect(throws: IdentityError(.keyMismatch, "")) {
            try CertificateAuthority(rootPEM: try authority.rootPEM(), keyPEM: other.keyPEM)
        }
    }

    @Test func `a leaf is not an authority`() throws {
        let authority = try CertificateAuthority.create(trustDomain: "mesh.internal", now: now)
        let key = IdentityKey()
        let id = try identity()
        let issued = try authority.sign(
            csrPEM: try SigningRequest.make(key: key, identity: id), identity: id, validity: 60, now: now)
        #expect(throws: IdentityError(.untrusted, "")) {
            try CertificateAuthority(rootPEM: issued.chainPEM[0], keyPEM: key.pem)
        }
        #expect(throws: IdentityError(.untrusted, "")) { try TrustBundle(pem: [issued.chainPEM[0]]) }
    }

    @Test func `requests that must be refused`() throws {
        let authority = try CertificateAuthority.create(trustDomain: "mesh.internal", now: now)
        let id = try identity()
        let good = try SigningRequest.make(key: IdentityKey(), identity: id)
        let other = try SigningRequest.make(key: IdentityKey(), identity: try identity("spiffe://mesh.internal/node/a"))
        let p384 = try CertificateSigningRequest(
            version: .v1, subject: DistinguishedName(), privateKey: .init(P384.Signing.PrivateKey()),
            attributes: .init(), signatureAlgorithm: .ecdsaWithSHA384
        ).serializeAsPEM().pemString
        let authorityKey = try SigningRequest.make(key: try IdentityKey(pem: authority.keyPEM), identity: id)
        let forged = try forge(good)
        let cases: [(String, String, IdentityError.Code)] = [
            ("empty", "", .malformed),
            ("not PEM", "hello", .malformed),
            ("a certificate", try authority.rootPEM(), .malformed),
            ("cut", String(good.prefix(good.count / 2)), .malformed),
            ("huge", String(repeating: good, count: 100), .malformed),
            ("other identity", other, .wrongNames),
            ("other curve", p384, .unsupportedKey),
            ("signed by another key", forged, .badSignature),
            ("the authority's own key", authorityKey, .keyMismatch),
        ]
        for (name, csr, code) in cases {
            #expect(throws: IdentityError(code, ""), "\(name)") {
                try authority.sign(csrPEM: csr, identity: id, validity: 60, now: now)
            }
        }
        #expect(throws: IdentityError(.wrongNames, "")) {
            try authority.sign(
                csrPEM: good, identity: try identity("spiffe://other/ns/shop/sa/cart"), validity: 60, now: now)
        }
        for validity in [0, -1, TimeInterval.nan, -TimeInterval.infinity] {
            #expect(throws: IdentityError(.badValidity, "")) {
                try authority.sign(csrPEM: good, identity: id, validity: validity, now: now)
            }
        }
        let clamped = try authority.sign(csrPEM: good, identity: id, validity: .greatestFiniteMagnitude, now: now)
        #expect(clamped.notAfter == authority.root.notValidAfter)
    }

    /// Replaces the signature by that of another key.
    private func forge(_ csrPEM: String) throws -> String {
        let request = try CertificateSigningRequest(pemEncoded: csrPEM)
        return try CertificateSigningRequest(
            version: request.version, subject: request.subject, publicKey: request.publicKey,
            attributes: request.attributes, signatureAlgorithm: request.signatureAlgorithm,
            signature: CertificateSigningRequest(
                pemEncoded: try SigningRequest.make(key: IdentityKey(), identity: try identity())
            ).signature
        ).serializeAsPEM().pemString
    }

    @Test(arguments: ["", "sha256:", "sha1:00", "sha256:zz", "sha256:" + String(repeating: "0", count: 63), "x"])
    func `texts that are no fingerprint`(text: String) {
        #expect(CertificateFingerprint(text) == nil)
    }

    @Test func `OpenSSL's form of a fingerprint is accepted`() throws {
        let authority = try CertificateAuthority.create(trustDomain: "mesh.internal", now: now)
        let digits = try authority.fingerprint().description.dropFirst(7).uppercased()
        let colons = stride(from: 0, to: 64, by: 2).map { digits.dropFirst($0).prefix(2) }.joined(separator: ":")
        #expect(try CertificateFingerprint("SHA256:\(colons)") == authority.fingerprint())
    }
}

struct PeerVerificationTests {
    @Test func `who is accepted as what`() async throws {
        let authority = try CertificateAuthority.create(trustDomain: "mesh.internal", now: now)
        let stranger = try CertificateAuthority.create(trustDomain: "mesh.internal", now: now)
        let bundle = try authority.trustBundle()
        let id = try identity()
        let leaf = try authority.sign(
            csrPEM: try SigningRequest.make(key: IdentityKey(), identity: id), identity: id, validity: 3600, now: now)
        let foreign = try stranger.sign(
            csrPEM: try SigningRequest.make(key: IdentityKey(), identity: id), identity: id, validity: 3600, now: now)
        let server = try authority.makeServerCertificate(names: ["localhost", "127.0.0.1"], validity: 3600, now: now)
        let cases: [(String, [Certificate], ExpectedPeer, TimeInterval, IdentityError.Code?)] = [
            ("workload", [leaf.certificate], .peer, 0, nil),
            ("with its root", [leaf.certificate, authority.root], .peer, 0, nil),
            ("control plane", [server.certificate.certificate], .controlPlane, 0, nil),
            ("a workload posing as the control plane", [leaf.certificate], .controlPlane, 0, .untrusted),
            ("the control plane posing as a workload", [server.certificate.certificate], .peer, 0, .untrusted),
            ("another authority", [foreign.certificate, stranger.root], .peer, 0, .untrusted),
            ("expired", [leaf.certificate], .peer, 3601, .badValidity),
            ("not yet valid", [leaf.certificate], .peer, -301, .badValidity),
            ("a root as a leaf", [authority.root], .peer, 0, .untrusted),
            ("nothing", [], .peer, 0, .malformed),
        ]
        for (name, chain, expected, offset, code) in cases {
            do throws(IdentityError) {
                _ = try await bundle.verify(chain: chain, as: expected, now: now.addingTimeInterval(offset))
                #expect(code == nil, "\(name)")
            } catch {
                #expect(error.code == code, "\(name): \(error)")
            }
        }
    }

    @Test func `an SVID with the wrong key or identity is refused`() async throws {
        let authority = try CertificateAuthority.create(trustDomain: "mesh.internal", now: now)
        let bundle = try authority.trustBundle()
        let id = try identity()
        let key = IdentityKey()
        let chain = try authority.sign(
            csrPEM: try SigningRequest.make(key: key, identity: id), identity: id, validity: 3600, now: now
        ).chainPEM
        await #expect(throws: IdentityError(.keyMismatch, "")) {
            try await SVID(identity: id, chainPEM: chain, key: IdentityKey(), bundle: bundle, now: now)
        }
        let other = try identity("spiffe://mesh.internal/node/a")
        await #expect(throws: IdentityError(.wrongNames, "")) {
            try await SVID(identity: other, chainPEM: chain, key: key, bundle: bundle, now: now)
        }
        await #expect(throws: IdentityError(.malformed, "")) {
            try await SVID(identity: id, chainPEM: [], key: key, bundle: bundle, now: now)
        }
    }
}

struct IdentityKeyTests {
    @Test func `a key survives its PEM and is never printed`() throws {
        let key = IdentityKey()
        #expect(try IdentityKey(pem: key.pem).pem == key.pem)
        var dumped = ""
        dump([key], to: &dumped)
        for text in ["\(key)", String(reflecting: key), String(describing: [key]), dumped] {
            #expect(!text.contains("PRIVATE"))
            #expect(text.contains("redacted"))
        }
    }

    @Test func `other keys are refused without being quoted`() throws {
        let p384 = P384.Signing.PrivateKey().pemRepresentation
        for text in ["", "x", p384, String(repeating: "x", count: 100_000)] {
            do throws(IdentityError) {
                _ = try IdentityKey(pem: text)
                Issue.record("accepted \(text.prefix(10))")
            } catch {
                #expect(error.code == .malformed)
                #expect(text.isEmpty || !error.message.contains(text.prefix(60)) || text == "x")
            }
        }
    }
}

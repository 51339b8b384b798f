// SPDX-License-Identifier: Apache-2.0

import Crypto
import MeshModel
import SwiftASN1
import X509

/// A PKCS #10 request for a certificate.
package enum SigningRequest {
    /// Makes a request with one URI name, or with none: the authority then sets the name by itself.
    ///
    /// - Returns: PEM.
    package static func make(key: IdentityKey, identity: SPIFFEID?) throws(IdentityError) -> String {
        do {
            var attributes = CertificateSigningRequest.Attributes()
            if let identity {
                let extensions = try Certificate.Extensions {
                    SubjectAlternativeNames([.uniformResourceIdentifier(identity.description)])
                }
                attributes = .init([try .init(ExtensionRequest(extensions: extensions))])
            }
            let request = try CertificateSigningRequest(
                version: .v1, subject: DistinguishedName(), privateKey: key.certificateKey, attributes: attributes,
                signatureAlgorithm: .ecdsaWithSHA256)
            return try request.serializeAsPEM().pemString + "\n"
        } catch {
            throw IdentityError(.internalFailure, "a signing request could not be made: \(error)")
        }
    }

    /// Parses and checks a request: its own signature, an EC P-256 key, and no names but, at most, `identity`.
    static func publicKey(csrPEM: String, identity: SPIFFEID) throws(IdentityError) -> Certificate.PublicKey {
        let request = try self.parse(csrPEM)
        guard let names = try? request.attributes.extensionRequest?.extensions.subjectAlternativeNames
        else { return request.publicKey }
        let allowed = GeneralName.uniformResourceIdentifier(identity.description)
        guard names.allSatisfy({ $0 == allowed }), names.count <= 1 else {
            throw IdentityError(
                .wrongNames, "the signing request asks for other names than \(identity): \(names.count) names")
        }
        return request.publicKey
    }

    private static func parse(_ csrPEM: String) throws(IdentityError) -> CertificateSigningRequest {
        guard csrPEM.utf8.count <= PEMLimits.requestBytes else {
            throw IdentityError(.malformed, "the signing request is longer than \(PEMLimits.requestBytes) bytes")
        }
        let request: CertificateSigningRequest
        do {
            request = try CertificateSigningRequest(pemEncoded: csrPEM)
        } catch {
            throw IdentityError(.malformed, "the signing request is not a PKCS #10 request in PEM: \(error)")
        }
        guard P256.Signing.PublicKey(request.publicKey) != nil else {
            throw IdentityError(.unsupportedKey, "the signing request has another key than EC P-256")
        }
        guard request.publicKey.isValidSignature(request.signature, for: request) else {
            throw IdentityError(.badSignature, "the signing request is not signed by its own key")
        }
        return request
    }
}

// SPDX-License-Identifier: Apache-2.0

import SwiftASN1
import X509

/// Bounds on text that is parsed as PEM.
package enum PEMLimits {
    package static let keyBytes = 8 * 1024
    package static let requestBytes = 16 * 1024
    package static let bundleBytes = 256 * 1024
    /// Certificates in one chain or bundle.
    package static let certificates = 32
}

extension Certificate {
    /// Every certificate in a text, in order; an empty text or anything but certificates is refused.
    package static func parse(pem: String) throws(IdentityError) -> [Certificate] {
        guard pem.utf8.count <= PEMLimits.bundleBytes else {
            throw IdentityError(.malformed, "the certificates are longer than \(PEMLimits.bundleBytes) bytes of PEM")
        }
        let certificates: [Certificate]
        do {
            certificates = try PEMDocument.parseMultiple(pemString: pem).map { try Certificate(pemDocument: $0) }
        } catch {
            throw IdentityError(.malformed, "this is not a list of certificates in PEM: \(error)")
        }
        guard (1...PEMLimits.certificates).contains(certificates.count) else {
            throw IdentityError(
                .malformed, "expected 1 to \(PEMLimits.certificates) certificates in PEM, found \(certificates.count)")
        }
        return certificates
    }

    /// One certificate from DER bytes.
    package static func parse(der: [UInt8]) throws(IdentityError) -> Certificate {
        do {
            return try Certificate(derEncoded: der)
        } catch {
            throw IdentityError(.malformed, "this is not a certificate in DER: \(error)")
        }
    }

    /// PEM text with a final newline.
    package func pem() throws(IdentityError) -> String {
        do {
            return try self.serializeAsPEM().pemString + "\n"
        } catch {
            throw IdentityError(.internalFailure, "a certificate could not be written as PEM: \(error)")
        }
    }

    /// DER bytes.
    package func der() throws(IdentityError) -> [UInt8] {
        do {
            var serializer = DER.Serializer()
            try serializer.serialize(self)
            return serializer.serializedBytes
        } catch {
            throw IdentityError(.internalFailure, "a certificate could not be written as DER: \(error)")
        }
    }

    /// The serial number in lower-case hexadecimal, two digits for each byte.
    package var serialText: String { hexadecimal(self.serialNumber.bytes) }
}

func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    var text = ""
    for byte in bytes {
        if byte < 16 { text.append("0") }
        text += String(byte, radix: 16)
    }
    return text
}

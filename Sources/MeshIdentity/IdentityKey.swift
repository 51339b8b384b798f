// SPDX-License-Identifier: Apache-2.0

import Crypto
import X509

/// An EC P-256 private key. It prints as its kind only; ``pem`` is the one way to its content.
package struct IdentityKey: Sendable {
    let signing: P256.Signing.PrivateKey

    /// A new random key.
    package init() { self.signing = P256.Signing.PrivateKey() }

    /// From PEM (PKCS #8 or SEC 1).
    package init(pem: String) throws(IdentityError) {
        guard pem.utf8.count <= PEMLimits.keyBytes else {
            throw IdentityError(.malformed, "the private key is longer than \(PEMLimits.keyBytes) bytes")
        }
        do {
            self.signing = try P256.Signing.PrivateKey(pemRepresentation: pem)
        } catch {
            // The library's error is dropped: it may quote what it read.
            throw IdentityError(.malformed, "the private key is not an EC P-256 key in PEM")
        }
    }

    /// PKCS #8 PEM. For a file with mode 0600 or a TLS library, nothing else.
    package var pem: String { self.signing.pemRepresentation }

    var certificateKey: Certificate.PrivateKey { Certificate.PrivateKey(self.signing) }

    /// Whether this is the private half of a certificate's key.
    package func matches(_ certificate: Certificate) -> Bool {
        certificate.publicKey == Certificate.PublicKey(self.signing.publicKey)
    }
}

extension IdentityKey: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { "IdentityKey(P-256, redacted)" }
    package var debugDescription: String { self.description }
    /// Keeps `dump` and string interpolation of an enclosing value away from the key.
    package var customMirror: Mirror { Mirror(self, children: []) }
}

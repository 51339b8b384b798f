// SPDX-License-Identifier: Apache-2.0

import Crypto
import X509

/// The SHA-256 of a certificate's DER, written `sha256:<64 hexadecimal digits>`.
package struct CertificateFingerprint: Hashable, Sendable, LosslessStringConvertible {
    /// `sha256:` and lower-case digits.
    package let description: String

    package init(der: some Sequence<UInt8>) {
        self.description = "sha256:" + hexadecimal(SHA256.hash(data: Array(der)))
    }

    /// Its first 32 digits, which fit a label of a DNS name: what a client says in front of a control plane's name in
    /// TLS to be shown a certificate that leads to this root.
    package var hint: String { String(self.description.dropFirst("sha256:".count).prefix(32)) }

    package init(_ certificate: Certificate) throws(IdentityError) { self.init(der: try certificate.der()) }

    /// Parses the text form; upper-case digits and colons between bytes (OpenSSL's form) are accepted.
    package init?(_ text: String) {
        let prefix = "sha256:"
        guard text.utf8.count <= 256, text.lowercased().hasPrefix(prefix) else { return nil }
        let digits = text.lowercased().dropFirst(prefix.count).filter { $0 != ":" }
        guard digits.utf8.count == 64,
            digits.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) })
        else { return nil }
        self.description = prefix + digits
    }
}

// SPDX-License-Identifier: Apache-2.0
import COpenSSL

extension TLSIdentity {
    /// As ``init(certificateChainPEM:privateKeyPEM:trustBundlePEM:)``, and when dialling only these suites are offered.
    package convenience init(
        certificateChainPEM: String, privateKeyPEM: String, trustBundlePEM: String, offering suites: [CipherSuite]
    ) throws(TunnelError) {
        try self.init(
            certificateChainPEM: certificateChainPEM, privateKeyPEM: privateKeyPEM, trustBundlePEM: trustBundlePEM)
        let names = suites.map { suite in
            switch suite {
            case .aes128GCM: "TLS_AES_128_GCM_SHA256"
            case .aes256GCM: "TLS_AES_256_GCM_SHA384"
            case .chaCha20Poly1305: "TLS_CHACHA20_POLY1305_SHA256"
            }
        }
        guard SSL_CTX_set_ciphersuites(self.context, names.joined(separator: ":")) == 1 else {
            throw TunnelError(.invalidIdentity, "OpenSSL does not know the suites \(names)")
        }
    }
}

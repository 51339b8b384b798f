// SPDX-License-Identifier: Apache-2.0
import COpenSSL
import MeshModel

/// A workload's certificate, key and trust bundle, ready for handshakes in both roles.
///
/// `@unchecked`: the context is never changed after `init`, and OpenSSL allows handshakes from several threads to read
/// one context and count references to it.
package final class TLSIdentity: @unchecked Sendable {
    /// Whose certificate it is.
    package let id: SPIFFEID
    /// Seconds since the Unix epoch after which the certificate is no longer good.
    package let notAfter: Int64
    let context: OpaquePointer
    /// Differs whenever the certificate or the trust bundle does: what was agreed under one is not resumed under another.
    package let sessionContext: [UInt8]

    /// Parses and checks everything; milliseconds of work, so never on a loop.
    ///
    /// - Parameters:
    ///   - certificateChainPEM: the leaf, then its intermediates.
    ///   - trustBundlePEM: the authorities that peers' chains must end at.
    package init(certificateChainPEM: String, privateKeyPEM: String, trustBundlePEM: String) throws(TunnelError) {
        let chain = PEM.certificates(certificateChainPEM)
        let bundle = PEM.certificates(trustBundlePEM)
        defer { for certificate in chain + bundle { X509_free(certificate) } }
        guard let leaf = chain.first else {
            throw TunnelError(.invalidIdentity, "the certificate chain holds no PEM certificate")
        }
        if bundle.isEmpty { throw TunnelError(.invalidIdentity, "the trust bundle holds no PEM certificate") }
        switch PeerVerification.identity(of: leaf) {
        case .success(let id): self.id = id
        case .failure(let error):
            throw TunnelError(.invalidIdentity, "the workload's own certificate is no SVID: \(error.message)")
        }
        guard let key = PEM.privateKey(privateKeyPEM) else {
            throw TunnelError(.invalidIdentity, "the private key is no unencrypted PEM key")
        }
        defer { EVP_PKEY_free(key) }
        self.notAfter = PEM.seconds(X509_get0_notAfter(leaf))
        self.sessionContext = PEM.fingerprint(leaf, bundle)
        self.context = try TLSContext.make(.dialled)
        guard SSL_CTX_use_certificate(self.context, leaf) == 1, SSL_CTX_use_PrivateKey(self.context, key) == 1,
            SSL_CTX_check_private_key(self.context) == 1
        else {
            ERR_clear_error()
            throw TunnelError(.invalidIdentity, "the private key does not belong to the certificate of \(self.id)")
        }
        // A root is in every peer's trust bundle already, and OpenSSL 3.0 takes a third of a millisecond to read it.
        for certificate in chain.dropFirst() where X509_self_signed(certificate, 0) != 1 {
            _ = SSL_CTX_ctrl(self.context, SSL_CTRL_CHAIN_CERT, 1, UnsafeMutableRawPointer(certificate))
        }
        let store = SSL_CTX_get_cert_store(self.context)
        for certificate in bundle { X509_STORE_add_cert(store, certificate) }
        ERR_clear_error()
    }

    deinit { SSL_CTX_free(self.context) }
}

/// PEM texts in memory.
enum PEM {
    /// The certificates in order, each to be freed by the caller; at most 64.
    static func certificates(_ text: String) -> [OpaquePointer] {
        var found: [OpaquePointer] = []
        Self.withBIO(text) { bio in
            while found.count < 64, let certificate = PEM_read_bio_X509(bio, nil, nil, nil) {
                found.append(certificate)
            }
        }
        ERR_clear_error()
        return found
    }

    /// To be freed by the caller.
    static func privateKey(_ text: String) -> OpaquePointer? {
        var key: OpaquePointer?
        // An empty passphrase callback: without one OpenSSL would ask on the terminal.
        Self.withBIO(text) { bio in key = PEM_read_bio_PrivateKey(bio, nil, noPassphrase, nil) }
        ERR_clear_error()
        return key
    }

    /// Seconds since the Unix epoch.
    static func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64 {
        var (days, seconds): (CInt, CInt) = (0, 0)
        let epoch = ASN1_TIME_set(nil, 0)
        defer { ASN1_STRING_free(epoch) }
        guard ASN1_TIME_diff(&days, &seconds, epoch, time) == 1 else { return 0 }
        return Int64(days) * 86400 + Int64(seconds)
    }

    /// A hash of a certificate and a set of others.
    static func fingerprint(_ leaf: OpaquePointer, _ bundle: [OpaquePointer]) -> [UInt8] {
        let digests = [Self.digest(leaf)] + bundle.map(Self.digest).sorted { $0.lexicographicallyPrecedes($1) }
        let text = digests.flatMap { $0 }
        var (hash, length) = ([UInt8](repeating: 0, count: 32), UInt32(0))
        EVP_Digest(text, text.count, &hash, &length, EVP_sha256(), nil)
        return hash
    }

    private static func digest(_ certificate: OpaquePointer) -> [UInt8] {
        var (hash, length) = ([UInt8](repeating: 0, count: 32), UInt32(0))
        X509_digest(certificate, EVP_sha256(), &hash, &length)
        return hash
    }

    private static func withBIO(_ text: String, _ body: (OpaquePointer) -> Void) {
        var text = text
        text.withUTF8 { bytes in
            guard let bio = BIO_new_mem_buf(bytes.baseAddress, CInt(clamping: bytes.count)) else { return }
            body(bio)
            BIO_free(bio)
        }
    }
}

private func noPassphrase(
    _ buffer: UnsafeMutablePointer<CChar>?, _ size: CInt, _ writing: CInt, _ data: UnsafeMutableRawPointer?
) -> CInt { -1 }

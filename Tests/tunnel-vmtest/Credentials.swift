// SPDX-License-Identifier: Apache-2.0
import COpenSSL
import MeshTunnel

/// A mesh authority and its certificates, made with OpenSSL alone so that this program stays small.
/// `@unchecked`: its certificate and key are only read.
struct Credentials: @unchecked Sendable {
    struct Leaf: Sendable {
        let certificate: String
        let key: String
    }

    let root: String
    private let certificate: OpaquePointer
    private let key: OpaquePointer

    init() throws {
        self.key = try Self.makeKey()
        self.certificate = try Self.makeCertificate(
            "authority", self.key, issuer: nil, signedWith: self.key, [NID_basic_constraints: "critical,CA:TRUE"])
        let certificate = self.certificate
        self.root = Self.pem { PEM_write_bio_X509($0, certificate) }
    }

    func leaf(_ account: String) throws -> Leaf {
        let key = try Self.makeKey()
        defer { EVP_PKEY_free(key) }
        let certificate = try Self.makeCertificate(
            account, key, issuer: self.certificate, signedWith: self.key,
            [
                NID_basic_constraints: "critical,CA:FALSE",
                NID_subject_alt_name: "URI:spiffe://mesh.test/ns/prod/sa/\(account)",
            ])
        defer { X509_free(certificate) }
        return Leaf(
            certificate: Self.pem { PEM_write_bio_X509($0, certificate) },
            key: Self.pem { PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil) })
    }

    func identity(_ leaf: Leaf, _ suites: [CipherSuite]) throws -> TLSIdentity {
        try TLSIdentity(
            certificateChainPEM: leaf.certificate, privateKeyPEM: leaf.key, trustBundlePEM: self.root,
            offering: suites)
    }

    private static func makeKey() throws -> OpaquePointer {
        let context = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nil)
        defer { EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        guard EVP_PKEY_keygen_init(context) == 1, EVP_PKEY_CTX_set_group_name(context, "P-256") == 1,
            EVP_PKEY_keygen(context, &key) == 1, let key
        else { throw Wrong("OpenSSL makes no key") }
        return key
    }

    private static func makeCertificate(
        _ name: String, _ key: OpaquePointer, issuer: OpaquePointer?, signedWith signer: OpaquePointer,
        _ extensions: [CInt: String]
    ) throws -> OpaquePointer {
        guard let certificate = X509_new() else { throw Wrong("OpenSSL makes no certificate") }
        X509_set_version(certificate, 2)
        ASN1_INTEGER_set(X509_get_serialNumber(certificate), Int.random(in: 1...(1 << 30)))
        X509_gmtime_adj(X509_getm_notBefore(certificate), -3600)
        X509_gmtime_adj(X509_getm_notAfter(certificate), 86400)
        X509_set_pubkey(certificate, key)
        let subject = X509_get_subject_name(certificate)
        X509_NAME_add_entry_by_txt(subject, "CN", 0x1001, name, -1, -1, 0)
        X509_set_issuer_name(certificate, issuer.flatMap { X509_get_subject_name($0) } ?? subject)
        for (nid, value) in extensions {
            guard let item = X509V3_EXT_conf_nid(nil, nil, nid, value) else { throw Wrong("extension \(value)") }
            X509_add_ext(certificate, item, -1)
            X509_EXTENSION_free(item)
        }
        guard X509_sign(certificate, signer, EVP_sha256()) > 0 else { throw Wrong("OpenSSL does not sign") }
        return certificate
    }

    private static func pem(_ write: (OpaquePointer?) -> CInt) -> String {
        let bio = BIO_new(BIO_s_mem())
        defer { BIO_free(bio) }
        _ = write(bio)
        var bytes = [UInt8](repeating: 0, count: 8192)
        let count = BIO_read(bio, &bytes, CInt(bytes.count))
        return String(decoding: bytes.prefix(Int(max(0, count))), as: UTF8.self)
    }
}

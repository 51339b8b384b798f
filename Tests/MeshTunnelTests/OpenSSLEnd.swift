// SPDX-License-Identifier: Apache-2.0
import COpenSSL
import Testing

/// A plain OpenSSL peer in memory: what anybody else's TLS 1.3 looks like to us.
final class OpenSSLEnd: HandshakeEnd {
    private let context: OpaquePointer
    private let ssl: OpaquePointer
    private let input: OpaquePointer
    private let output: OpaquePointer
    private(set) var isSettled = false
    /// OpenSSL's words when the handshake failed.
    private(set) var failure: String?

    struct Options {
        var suite = "TLS_AES_128_GCM_SHA256"
        var serverName: String?
        var tickets = 0
        var padding = 0
        var protocols: [UInt8]? = [8] + Array("http/1.1".utf8)
    }

    /// - Parameter certificate: chain and key as PEM; nil: none.
    init(isServer: Bool, certificate: (chain: String, key: String)?, root: String, options: Options) throws {
        self.context = try #require(SSL_CTX_new(TLS_method()))
        #expect(SSL_CTX_set_ciphersuites(self.context, options.suite) == 1)
        SSL_CTX_set_num_tickets(self.context, options.tickets)
        let store = SSL_CTX_get_cert_store(self.context)
        for certificate in Self.certificates(root) {
            X509_STORE_add_cert(store, certificate)
            X509_free(certificate)
        }
        if let certificate {
            for (index, item) in Self.certificates(certificate.chain).enumerated() {
                if index == 0 {
                    #expect(SSL_CTX_use_certificate(self.context, item) == 1)
                    X509_free(item)
                } else {
                    SSL_CTX_ctrl(self.context, SSL_CTRL_CHAIN_CERT, 0, UnsafeMutableRawPointer(item))
                }
            }
            let key = try #require(Self.key(certificate.key))
            #expect(SSL_CTX_use_PrivateKey(self.context, key) == 1)
            EVP_PKEY_free(key)
        }
        SSL_CTX_set_verify(
            self.context, isServer ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_PEER, nil)
        if let protocols = options.protocols {
            if isServer {
                SSL_CTX_set_alpn_select_cb(self.context, selectFirst, nil)
            } else {
                SSL_CTX_set_alpn_protos(self.context, protocols, UInt32(protocols.count))
            }
        }
        self.ssl = try #require(SSL_new(self.context))
        self.input = try #require(BIO_new(BIO_s_mem()))
        self.output = try #require(BIO_new(BIO_s_mem()))
        BIO_ctrl(self.input, BIO_C_SET_BUF_MEM_EOF_RETURN, -1, nil)
        SSL_set_bio(self.ssl, self.input, self.output)
        if options.padding > 0 { SSL_set_block_padding(self.ssl, options.padding) }
        if isServer { SSL_set_accept_state(self.ssl) } else { SSL_set_connect_state(self.ssl) }
        options.serverName?.withCString {
            _ = SSL_ctrl(self.ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, 0, UnsafeMutableRawPointer(mutating: $0))
        }
    }

    deinit {
        SSL_free(self.ssl)
        SSL_CTX_free(self.context)
    }

    func step(_ input: [UInt8]) -> [UInt8] {
        self.feed(input)
        if !self.isSettled, self.failure == nil {
            ERR_clear_error()
            let result = SSL_do_handshake(self.ssl)
            if result == 1 {
                self.isSettled = true
            } else if SSL_get_error(self.ssl, result) != SSL_ERROR_WANT_READ {
                self.failure = ERR_reason_error_string(ERR_peek_last_error()).map { String(cString: $0) } ?? "failed"
                ERR_clear_error()
            }
        }
        return self.drain()
    }

    private func feed(_ input: [UInt8]) { _ = BIO_write(self.input, input, CInt(input.count)) }

    private func drain() -> [UInt8] {
        let count = Int(BIO_ctrl(self.output, BIO_CTRL_PENDING, 0, nil))
        var bytes = [UInt8](repeating: 0, count: count)
        let read = BIO_read(self.output, &bytes, CInt(count))
        return Array(bytes.prefix(max(0, Int(read))))
    }

    /// Records with this content.
    func write(_ content: [UInt8]) -> [UInt8] {
        if !content.isEmpty { #expect(SSL_write(self.ssl, content, CInt(content.count)) == CInt(content.count)) }
        return self.drain()
    }

    /// The content of these records; what OpenSSL answers by itself is left for ``write(_:)``.
    func read(_ records: [UInt8]) -> [UInt8] {
        self.feed(records)
        var content: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 20000)
        while true {
            let count = SSL_read(self.ssl, &buffer, CInt(buffer.count))
            if count <= 0 { break }
            content += buffer.prefix(Int(count))
        }
        return content
    }

    func updateKey(requestingAnswer: Bool) -> [UInt8] {
        #expect(
            SSL_key_update(self.ssl, requestingAnswer ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED) == 1)
        #expect(SSL_do_handshake(self.ssl) == 1)
        return self.drain()
    }

    func shutdown() -> [UInt8] {
        SSL_shutdown(self.ssl)
        return self.drain()
    }

    var hasReceivedShutdown: Bool { SSL_get_shutdown(self.ssl) & SSL_RECEIVED_SHUTDOWN != 0 }

    private static func certificates(_ pem: String) -> [OpaquePointer] {
        self.withBIO(pem) { bio in
            var found: [OpaquePointer] = []
            while let certificate = PEM_read_bio_X509(bio, nil, nil, nil) { found.append(certificate) }
            ERR_clear_error()
            return found
        }
    }

    private static func key(_ pem: String) -> OpaquePointer? {
        self.withBIO(pem) { PEM_read_bio_PrivateKey($0, nil, nil, nil) }
    }

    /// The BIO reads the text where it lies, so the text has to stay while it is read.
    private static func withBIO<T>(_ pem: String, _ body: (OpaquePointer?) -> T) -> T {
        pem.withCString { text in
            let bio = BIO_new_mem_buf(text, -1)
            defer { BIO_free(bio) }
            return body(bio)
        }
    }
}

private func selectFirst(
    _ ssl: OpaquePointer?, _ chosen: UnsafeMutablePointer<UnsafePointer<UInt8>?>?,
    _ length: UnsafeMutablePointer<UInt8>?, _ offered: UnsafePointer<UInt8>?, _ count: UInt32,
    _ argument: UnsafeMutableRawPointer?
) -> CInt {
    guard let offered, count > 0 else { return SSL_TLSEXT_ERR_NOACK }
    chosen?.pointee = offered + 1
    length?.pointee = offered[0]
    return SSL_TLSEXT_ERR_OK
}

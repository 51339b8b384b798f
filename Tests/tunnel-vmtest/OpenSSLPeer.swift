// SPDX-License-Identifier: Apache-2.0
import COpenSSL
import MeshTunnel

/// Another implementation at the other end of a tunnel: OpenSSL, which claims to be a node of our own making.
final class OpenSSLPeer {
    let wire: Wire
    private let context: OpaquePointer
    private let ssl: OpaquePointer
    private let input: OpaquePointer
    private let output: OpaquePointer

    init(
        _ wire: Wire, isServer: Bool, _ leaf: Credentials.Leaf, root: String, suite: String = "TLS_AES_128_GCM_SHA256"
    ) throws {
        guard let context = SSL_CTX_new(TLS_method()),
            let ssl = { () -> OpaquePointer? in
                SSL_CTX_set_ciphersuites(context, suite)
                SSL_CTX_set_num_tickets(context, 0)
                Self.withBIO(leaf.certificate) { bio in
                    let certificate = PEM_read_bio_X509(bio, nil, nil, nil)
                    SSL_CTX_use_certificate(context, certificate)
                    X509_free(certificate)
                }
                Self.withBIO(leaf.key) { bio in
                    let key = PEM_read_bio_PrivateKey(bio, nil, nil, nil)
                    SSL_CTX_use_PrivateKey(context, key)
                    EVP_PKEY_free(key)
                }
                Self.withBIO(root) { bio in
                    let certificate = PEM_read_bio_X509(bio, nil, nil, nil)
                    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate)
                    X509_free(certificate)
                }
                SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
                if isServer {
                    SSL_CTX_set_alpn_select_cb(context, selectFirst, nil)
                } else {
                    SSL_CTX_set_alpn_protos(context, [8] + Array("http/1.1".utf8), 9)
                }
                return SSL_new(context)
            }(), let input = BIO_new(BIO_s_mem()), let output = BIO_new(BIO_s_mem())
        else { throw Wrong("no OpenSSL") }
        BIO_ctrl(input, BIO_C_SET_BUF_MEM_EOF_RETURN, -1, nil)
        SSL_set_bio(ssl, input, output)
        if isServer { SSL_set_accept_state(ssl) } else { SSL_set_connect_state(ssl) }
        _ = "server.prod.workload.mesh.internal".withCString {
            SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, 0, UnsafeMutableRawPointer(mutating: $0))
        }
        self.wire = wire
        self.context = context
        self.ssl = ssl
        self.input = input
        self.output = output
    }

    deinit {
        SSL_free(self.ssl)
        SSL_CTX_free(self.context)
    }

    func handshake() throws {
        while true {
            ERR_clear_error()
            let result = SSL_do_handshake(self.ssl)
            let code = SSL_get_error(self.ssl, result)
            try self.wire.write(self.pending())
            if result == 1 { return }
            if code != SSL_ERROR_WANT_READ { throw Wrong("OpenSSL's handshake failed: \(Self.lastError())") }
            try self.feed()
        }
    }

    /// The records of this content.
    func records(_ content: [UInt8]) throws -> [UInt8] {
        if SSL_write(self.ssl, content, CInt(content.count)) != CInt(content.count) {
            throw Wrong("OpenSSL does not write: \(Self.lastError())")
        }
        return self.pending()
    }

    func write(_ content: [UInt8]) throws { try self.wire.write(try self.records(content)) }

    /// A KeyUpdate, as a record.
    func keyUpdate() -> [UInt8] {
        SSL_key_update(self.ssl, SSL_KEY_UPDATE_NOT_REQUESTED)
        SSL_do_handshake(self.ssl)
        return self.pending()
    }

    /// A NewSessionTicket, as a record.
    func ticket() -> [UInt8] {
        SSL_new_session_ticket(self.ssl)
        SSL_do_handshake(self.ssl)
        return self.pending()
    }

    func closeNotify() -> [UInt8] {
        SSL_shutdown(self.ssl)
        return self.pending()
    }

    /// Up to `limit` bytes; fewer only at close_notify.
    func read(_ limit: Int) throws -> [UInt8] {
        var content: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 20000)
        while content.count < limit {
            ERR_clear_error()
            let count = SSL_read(self.ssl, &buffer, CInt(min(buffer.count, limit - content.count)))
            if count > 0 {
                content += buffer.prefix(Int(count))
                continue
            }
            switch SSL_get_error(self.ssl, count) {
            case SSL_ERROR_ZERO_RETURN: return content
            case SSL_ERROR_WANT_READ: try self.feed()
            default: throw Wrong("OpenSSL does not read: \(Self.lastError())")
            }
        }
        return content
    }

    /// Sends a CONNECT as a node of our own making would, and reads the answer.
    func connect(to app: App) throws {
        try self.write(ConnectRequest(authority: app.address, capabilities: TunnelCapabilities()).encoded)
        try self.readAnswer()
    }

    func readAnswer() throws {
        var answer = ""
        while !answer.hasSuffix("\r\n\r\n") { answer += String(decoding: try self.readSome(1), as: UTF8.self) }
        try expect(answer.hasPrefix("HTTP/1.1 200") && answer.contains("nodemesh-capabilities"), "answer: \(answer)")
    }

    /// Reads a CONNECT and accepts it.
    func accept() throws {
        var request = ""
        while !request.hasSuffix("\r\n\r\n") { request += String(decoding: try self.readSome(1), as: UTF8.self) }
        try expect(request.hasPrefix("CONNECT ") && request.contains("fixed-keys"), "request: \(request)")
        try self.write(ConnectResponse.accepted(TunnelCapabilities()).encoded)
    }

    private func readSome(_ count: Int) throws -> [UInt8] {
        let bytes = try self.read(count)
        if bytes.isEmpty { throw Wrong("the tunnel was closed in order") }
        return bytes
    }

    private func feed() throws {
        let bytes = try self.wire.read()
        if bytes.isEmpty { throw Wrong("the tunnel's connection ended") }
        BIO_write(self.input, bytes, CInt(bytes.count))
    }

    private func pending() -> [UInt8] {
        let count = Int(BIO_ctrl(self.output, BIO_CTRL_PENDING, 0, nil))
        var bytes = [UInt8](repeating: 0, count: count)
        let read = count == 0 ? 0 : BIO_read(self.output, &bytes, CInt(count))
        return Array(bytes.prefix(max(0, Int(read))))
    }

    private static func lastError() -> String {
        ERR_reason_error_string(ERR_peek_last_error()).map { String(cString: $0) } ?? "no reason"
    }

    private static func withBIO(_ pem: String, _ body: (OpaquePointer?) -> Void) {
        pem.withCString { text in
            let bio = BIO_new_mem_buf(text, -1)
            body(bio)
            BIO_free(bio)
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

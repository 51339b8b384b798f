// SPDX-License-Identifier: Apache-2.0
import COpenSSL

/// What every TLS context of the mesh has in common.
enum TLSContext {
    /// ALPN of the splice wire, in wire form.
    static let protocols: [UInt8] = [8] + Array("http/1.1".utf8)

    /// Whose sessions a context keeps for resumption.
    enum Sessions {
        /// The accepting side: those it handed tickets out for, in OpenSSL's cache, so that a ticket is a number and
        /// needs neither a key to seal it nor a certificate to be decoded again.
        case accepted
        /// The dialling side: each ticket goes to the handshake it came with.
        case dialled
    }

    /// Sessions that a node keeps for its peers to resume; each is a few kilobytes. Beyond it the oldest go.
    private static let sessionLimit = 2048
    /// Seconds for which a session may be resumed, unless a certificate ends before.
    static let sessionLifetime = 3600

    /// The key exchanges of tunnels, best first; the hybrid is there from OpenSSL 3.5 on.
    private static let groups = ["X25519:X25519MLKEM768:P-256:P-384", "X25519:P-256:P-384"]

    /// TLS 1.3 only, mutual, both roles. To be freed by the caller.
    static func make(_ sessions: Sessions) throws(TunnelError) -> OpaquePointer {
        guard let context = SSL_CTX_new(TLS_method()) else {
            throw TunnelError(.invalidIdentity, "OpenSSL cannot make a TLS context")
        }
        SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(TLS1_3_VERSION), nil)
        SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(TLS1_3_VERSION), nil)
        SSL_CTX_ctrl(context, SSL_CTRL_MODE, Int(SSL_MODE_RELEASE_BUFFERS), nil)
        SSL_CTX_set_options(context, nm_ssl_options())
        switch sessions {
        case .accepted:
            SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_SERVER), nil)
            SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_SIZE, Self.sessionLimit, nil)
            SSL_CTX_set_timeout(context, Self.sessionLifetime)
            SSL_CTX_set_num_tickets(context, 1)
        case .dialled:
            let mode = Int(SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL)
            SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, mode, nil)
            SSL_CTX_sess_set_new_cb(context, receivedTicket)
        }
        var ready = 0
        for groups in Self.groups where ready != 1 {
            ready = groups.withCString {
                SSL_CTX_ctrl(context, SSL_CTRL_SET_GROUPS_LIST, 0, UnsafeMutableRawPointer(mutating: $0))
            }
        }
        ERR_clear_error()
        let suites = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
        if SSL_CTX_set_ciphersuites(context, suites) != 1 { ready = 0 }
        if SSL_CTX_set_alpn_protos(context, Self.protocols, UInt32(Self.protocols.count)) != 0 { ready = 0 }
        SSL_CTX_set_alpn_select_cb(context, chooseProtocol, nil)
        SSL_CTX_set_client_hello_cb(context, receivedClientHello, nil)
        SSL_CTX_set_keylog_callback(context, receivedSecret)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, verifyPeer)
        guard ready == 1 else {
            SSL_CTX_free(context)
            ERR_clear_error()
            throw TunnelError(.invalidIdentity, "OpenSSL does not know a cipher suite or group that tunnels need")
        }
        return context
    }
}

/// ALPN on the accepting side: the splice wire or a fatal alert.
private func chooseProtocol(
    _ ssl: OpaquePointer?, _ chosen: UnsafeMutablePointer<UnsafePointer<UInt8>?>?,
    _ length: UnsafeMutablePointer<UInt8>?, _ offered: UnsafePointer<UInt8>?, _ count: UInt32,
    _ argument: UnsafeMutableRawPointer?
) -> CInt {
    guard let offered, let chosen, let length else { return SSL_TLSEXT_ERR_ALERT_FATAL }
    let wanted = TLSContext.protocols
    var index = 0
    while index < Int(count) {
        let size = Int(offered[index])
        if index + 1 + size > Int(count) { break }
        if size + 1 == wanted.count, (0...size).allSatisfy({ offered[index + $0] == wanted[$0] }) {
            chosen.pointee = offered + index + 1
            length.pointee = UInt8(size)
            return SSL_TLSEXT_ERR_OK
        }
        index += 1 + size
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL
}

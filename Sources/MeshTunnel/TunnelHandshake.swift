// SPDX-License-Identifier: Apache-2.0
import COpenSSL
import MeshLinux
import MeshModel

/// One TLS handshake over memory: takes the peer's bytes, gives bytes for the peer, and ends as a ``TunnelSession``.
/// Blocks on nothing, owns no socket. Confined to one loop.
package final class TunnelHandshake {
    /// How far it is. Bytes for the peer may wait in every case, failure included (the alert).
    package enum Progress {
        case needsBytes
        /// The certificate of the local workload is not there yet: advance again when it is.
        case needsIdentity
        case done(TunnelSession)
        case failed(TunnelError)
    }

    /// The most that a handshake may send us; certificates are a few KiB.
    private static let inputLimit = 256 << 10

    private let ssl: OpaquePointer
    private let input: OpaquePointer
    private let output: OpaquePointer
    private let isClient: Bool
    private var received = 0
    /// Which certificate belongs to a server name; asked during ``advance()``, so it may be replaced before that.
    package var select: (String) -> TunnelAcceptor.Selection
    /// Called once with what a later handshake with this peer can resume, if the peer gives out tickets: while the
    /// session's first records are opened.
    package var onTicket: ((ResumableSession) -> Void)?
    /// This handshake resumed an earlier session. Known once it is done.
    package private(set) var isResumed = false
    private var notAfter: Int64 = 0
    /// Records of the session that OpenSSL has seen.
    private var observed = 0
    /// Filled in by the callbacks.
    var secrets = TrafficSecrets()
    var failure: TunnelError?
    var peer: SPIFFEID?
    private(set) var local: SPIFFEID?
    let expected: SPIFFEID?
    /// The name the client asked for, once it is known.
    package internal(set) var serverName: String?

    /// The dialling side.
    ///
    /// - Parameters:
    ///   - expected: the only identity that the server may have.
    ///   - session: of an earlier handshake with the same four things: identity, server name, expectation and node. The
    ///     peer may not know it any more; then the handshake is a full one.
    package convenience init(
        connectingAs identity: TLSIdentity, to serverName: String, expecting expected: SPIFFEID,
        resuming session: ResumableSession? = nil
    ) throws(TunnelError) {
        try self.init(identity.context, isClient: true, expected: expected) { _ in .unknown }
        self.local = identity.id
        self.notAfter = identity.notAfter
        self.serverName = serverName
        // OpenSSL lets a client use a session once; a copy knows nothing of earlier uses.
        if let session, let copy = SSL_SESSION_dup(session.raw) {
            SSL_set_session(self.ssl, copy)
            SSL_SESSION_free(copy)
        }
        serverName.withCString {
            _ = SSL_ctrl(
                self.ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, Int(TLSEXT_NAMETYPE_host_name),
                UnsafeMutableRawPointer(mutating: $0))
        }
    }

    /// The accepting side.
    ///
    /// - Parameter select: which certificate belongs to a server name; asked during ``advance()``.
    package convenience init(
        accepting acceptor: TunnelAcceptor, select: @escaping (String) -> TunnelAcceptor.Selection
    ) throws(TunnelError) {
        try self.init(acceptor.context, isClient: false, expected: nil, select: select)
    }

    private init(
        _ context: OpaquePointer, isClient: Bool, expected: SPIFFEID?,
        select: @escaping (String) -> TunnelAcceptor.Selection
    ) throws(TunnelError) {
        guard let ssl = SSL_new(context), let input = BIO_new(BIO_s_mem()), let output = BIO_new(BIO_s_mem()) else {
            throw TunnelError(.handshakeFailed, "no memory for a TLS handshake")
        }
        SSL_set_bio(ssl, input, output)
        // An empty input means "later", not "end".
        BIO_ctrl(input, BIO_C_SET_BUF_MEM_EOF_RETURN, -1, nil)
        if isClient { SSL_set_connect_state(ssl) } else { SSL_set_accept_state(ssl) }
        self.ssl = ssl
        self.input = input
        self.output = output
        self.isClient = isClient
        self.expected = expected
        self.select = select
        SSL_set_ex_data(ssl, 0, Unmanaged.passUnretained(self).toOpaque())
    }

    deinit {
        self.secrets.erase()
        // An orderly end as far as OpenSSL is concerned: it would otherwise forget the session.
        if self.failure == nil { SSL_set_shutdown(self.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN) }
        SSL_free(self.ssl)
    }

    /// The handshake that an SSL object belongs to.
    static func owner(of ssl: OpaquePointer) -> TunnelHandshake? {
        SSL_get_ex_data(ssl, 0).map { Unmanaged<TunnelHandshake>.fromOpaque($0).takeUnretainedValue() }
    }

    /// Called while the ClientHello is judged.
    func use(_ identity: TLSIdentity) {
        self.local = identity.id
        self.notAfter = identity.notAfter
        SSL_set_SSL_CTX(self.ssl, identity.context)
        let context = identity.sessionContext
        SSL_set_session_id_context(self.ssl, context, UInt32(context.count))
    }

    /// Bytes from the peer.
    package func receive(_ bytes: UnsafeRawBufferPointer) {
        self.received += bytes.count
        if self.received > Self.inputLimit {
            self.failure = TunnelError(.protocolViolation, "the peer's TLS handshake is longer than any real one")
            return
        }
        _ = BIO_write(self.input, bytes.baseAddress, CInt(truncatingIfNeeded: bytes.count))
    }

    /// Bytes that wait for the peer.
    package var outputCount: Int { Int(BIO_ctrl(self.output, BIO_CTRL_PENDING, 0, nil)) }

    /// Takes bytes for the peer.
    package func takeOutput(_ buffer: UnsafeMutableRawBufferPointer) -> Int {
        max(0, Int(BIO_read(self.output, buffer.baseAddress, CInt(clamping: buffer.count))))
    }

    /// Bytes that arrived behind the handshake; records of the session. Asked once, after `.done`.
    package func takeLeftover() -> [UInt8] {
        let count = Int(BIO_ctrl(self.input, BIO_CTRL_PENDING, 0, nil))
        if count <= 0 { return [] }
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            filled = max(0, Int(BIO_read(self.input, buffer.baseAddress, CInt(truncatingIfNeeded: count))))
        }
    }

    /// Goes as far as the received bytes allow; up to a millisecond of work.
    package func advance() -> Progress {
        if let failure = self.failure { return .failed(failure) }
        ERR_clear_error()
        let result = SSL_do_handshake(self.ssl)
        if let failure = self.failure { return .failed(failure) }
        if result == 1 { return self.finish() }
        switch SSL_get_error(self.ssl, result) {
        case SSL_ERROR_WANT_READ: return .needsBytes
        case SSL_ERROR_WANT_CLIENT_HELLO_CB: return .needsIdentity
        default:
            let error = self.libraryError()
            self.failure = error
            return .failed(error)
        }
    }

    private func finish() -> Progress {
        let suite = SSL_get_current_cipher(self.ssl).flatMap { CipherSuite(rawValue: SSL_CIPHER_get_protocol_id($0)) }
        var (name, length): (UnsafePointer<UInt8>?, UInt32) = (nil, 0)
        SSL_get0_alpn_selected(self.ssl, &name, &length)
        self.isResumed = SSL_session_reused(self.ssl) == 1
        let failure: TunnelError
        if let error = self.checkPeer() {
            failure = error
        } else if length != 8 {
            failure = TunnelError(.handshakeFailed, "the peer does not speak the tunnel protocol (no ALPN http/1.1)")
        } else if let suite, let peer = self.peer, let local = self.local, SSL_has_pending(self.ssl) == 0,
            var keys = self.secrets.takeKeys(suite: suite, isClient: self.isClient)
        {
            // The tickets we give out are the first records of our direction.
            if !self.isClient { keys.sending.sequence = UInt64(self.recordsInOutput()) }
            let session = TunnelSession(
                suite: suite, sending: keys.sending, receiving: keys.receiving, peer: peer, local: local,
                notAfter: self.notAfter, isResumed: self.isResumed)
            keys.sending.erase()
            keys.receiving.erase()
            if self.isClient, self.onTicket != nil { session.tickets = self }
            return .done(session)
        } else {
            failure = TunnelError(.handshakeFailed, "OpenSSL did not give the parts of the session; not handled")
        }
        self.failure = failure
        return .failed(failure)
    }

    /// Certificates are judged by ``verifyPeer`` in a full handshake. A resumed one shows none: what was proved then
    /// still has to hold now.
    private func checkPeer() -> TunnelError? {
        guard let certificate = SSL_get0_peer_certificate(self.ssl) else {
            return TunnelError(.handshakeFailed, "the peer sent no certificate; every tunnel is mutually authenticated")
        }
        let end = PEM.seconds(X509_get0_notAfter(certificate))
        if self.isResumed {
            guard let local = self.local else { return TunnelError(.handshakeFailed, "no identity was chosen") }
            switch PeerVerification.identity(of: certificate) {
            case .failure(let error): return error
            case .success(let peer):
                if let error = PeerVerification.check(peer: peer, local: local, expected: self.expected) {
                    return error
                }
                self.peer = peer
            }
            if end <= Int64(Clock.wall / 1_000_000_000) {
                return TunnelError(
                    .handshakeFailed, "the peer resumed a session whose certificate has expired since")
            }
        }
        self.notAfter = min(self.notAfter, end)
        return nil
    }

    /// Whole records that wait for the peer.
    private func recordsInOutput() -> Int {
        var start: UnsafeMutablePointer<UInt8>?
        let count = withUnsafeMutablePointer(to: &start) { Int(BIO_ctrl(self.output, BIO_CTRL_INFO, 0, $0)) }
        guard let start else { return 0 }
        var (offset, records) = (0, 0)
        while offset + RecordLayout.header <= count {
            // Behind its Finished a client gets nothing but records under the application's keys.
            offset += RecordLayout.header + (Int(start[offset + 3]) << 8 | Int(start[offset + 4]))
            records += 1
        }
        return records
    }

    // MARK: - Tickets

    /// Shows OpenSSL a record of the session as it came. Only it can make a ticket of it.
    ///
    /// - Returns: whether to show it the next one too.
    func observe(_ record: UnsafeRawBufferPointer) -> Bool {
        _ = BIO_write(self.input, record.baseAddress, CInt(truncatingIfNeeded: record.count))
        var byte: UInt8 = 0
        let result = SSL_read(self.ssl, &byte, 1)
        let code = result > 0 ? SSL_ERROR_NONE : SSL_get_error(self.ssl, result)
        ERR_clear_error()
        self.observed += 1
        return code == SSL_ERROR_WANT_READ && self.onTicket != nil && self.observed < 4
    }

    /// - Returns: whether it was taken.
    func received(ticket: OpaquePointer) -> Bool {
        guard let take = self.onTicket, SSL_SESSION_is_resumable(ticket) == 1 else { return false }
        self.onTicket = nil
        take(ResumableSession(owning: ticket, notAfter: self.notAfter))
        return true
    }

    private func libraryError() -> TunnelError {
        let code = nm_take_last_error()
        let reason = ERR_GET_REASON(code)
        switch reason {
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
            return TunnelError(.handshakeFailed, "the peer sent no certificate; every tunnel is mutually authenticated")
        case SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_WRONG_VERSION_NUMBER, SSL_R_HTTP_REQUEST, SSL_R_BAD_RECORD_TYPE:
            return TunnelError(.handshakeFailed, "the peer does not speak TLS 1.3; is something else on its port?")
        case 1000...1255:
            // OpenSSL reports a peer's alert as 1000 + its code.
            return TunnelError(.alert, "the peer refused the handshake: \(Alert.text(UInt8(reason - 1000)))")
        case 0:
            return TunnelError(.handshakeFailed, "the TLS handshake failed")
        default:
            let text = ERR_reason_error_string(code).map { String(cString: $0) } ?? "code \(code)"
            return TunnelError(.handshakeFailed, "the TLS handshake failed: \(text)")
        }
    }
}

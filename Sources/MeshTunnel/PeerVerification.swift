// SPDX-License-Identifier: Apache-2.0
import COpenSSL
import MeshLinux
import MeshModel

/// Who the other side is, and whether it may be.
enum PeerVerification {
    /// The identity in an SVID (SPIFFE X.509-SVID §2): a leaf, not an authority, with exactly one URI name.
    static func identity(of certificate: OpaquePointer) -> Result<SPIFFEID, TunnelError> {
        if X509_check_ca(certificate) != 0 {
            return .failure(TunnelError(.handshakeFailed, "the certificate is an authority's, not a workload's"))
        }
        guard let raw = X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil) else {
            return .failure(
                TunnelError(.handshakeFailed, "the certificate has no SPIFFE ID (no subject alternative name)"))
        }
        let names = OpaquePointer(raw)
        defer { nm_general_names_free(names) }
        var texts: [String] = []
        for index in 0..<nm_general_names_count(names) {
            guard let uri = nm_general_name_uri(nm_general_name(names, index)) else { continue }
            let bytes = UnsafeBufferPointer(start: ASN1_STRING_get0_data(uri), count: Int(ASN1_STRING_length(uri)))
            texts.append(String(decoding: bytes.prefix(2049), as: UTF8.self))
        }
        guard texts.count == 1, let text = texts.first else {
            return .failure(
                TunnelError(
                    .handshakeFailed, "the certificate has \(texts.count) URI names; an SVID has exactly one"))
        }
        guard let id = SPIFFEID(text) else {
            return .failure(
                TunnelError(
                    .handshakeFailed, "the certificate's URI name is no SPIFFE ID of a mesh: \(printable(text))"))
        }
        return .success(id)
    }

    /// Is `peer` one that `local` talks to, and the one it expected?
    static func check(peer: SPIFFEID, local: SPIFFEID, expected: SPIFFEID?) -> TunnelError? {
        if let expected, peer != expected {
            return TunnelError(
                .identityMismatch,
                "the peer is \(peer), expected \(expected); the workload may have moved, or its node lies")
        }
        if peer.trustDomain != local.trustDomain {
            return TunnelError(.handshakeFailed, "the peer \(peer) is of another trust domain than \(local)")
        }
        return nil
    }

    /// OpenSSL's judgement of a chain in words for an operator.
    static func text(verifyResult code: Int, subject: String?) -> String {
        let who = subject.map { " (\($0))" } ?? ""
        switch CInt(truncatingIfNeeded: code) {
        case X509_V_ERR_CERT_HAS_EXPIRED:
            return "the peer's certificate\(who) has expired;"
                + " check its node's link to the control plane and both clocks"
        case X509_V_ERR_CERT_NOT_YET_VALID:
            return "the peer's certificate\(who) is not valid yet; check the clocks of both nodes"
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
            X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
            X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_CERT_UNTRUSTED, X509_V_ERR_CERT_SIGNATURE_FAILURE:
            return "the peer's certificate\(who) is signed by an unknown authority, none of the trust bundle;"
                + " check that both nodes belong to the same mesh"
        default:
            let words = String(cString: X509_verify_cert_error_string(code))
            return "the peer's certificate\(who) is not accepted: \(words)"
        }
    }

    /// Text from a peer without what could disturb a log line, at most 256 characters.
    static func printable(_ text: String) -> String {
        String(decoding: text.utf8.prefix(256).map { (32...126).contains($0) ? $0 : 63 }, as: UTF8.self)
    }
}

/// Called by OpenSSL for each certificate of the peer's chain, the leaf last. A good leaf must also be the right one, so
/// that a wrong one gets an alert and never a finished handshake.
func verifyPeer(_ isGood: CInt, _ store: OpaquePointer?) -> CInt {
    let index = SSL_get_ex_data_X509_STORE_CTX_idx()
    guard let store, let ssl = X509_STORE_CTX_get_ex_data(store, index),
        let handshake = TunnelHandshake.owner(of: OpaquePointer(ssl)),
        let certificate = X509_STORE_CTX_get_current_cert(store)
    else { return 0 }
    guard isGood == 1 else {
        if handshake.failure == nil {
            let subject = try? PeerVerification.identity(of: certificate).get().description
            let code = X509_STORE_CTX_get_error(store)
            handshake.failure = TunnelError(
                .handshakeFailed, PeerVerification.text(verifyResult: Int(code), subject: subject))
        }
        return 0
    }
    if X509_STORE_CTX_get_error_depth(store) > 0 { return 1 }
    switch PeerVerification.identity(of: certificate) {
    case .success(let peer):
        handshake.peer = peer
        guard let local = handshake.local else { return 0 }
        handshake.failure = PeerVerification.check(peer: peer, local: local, expected: handshake.expected)
    case .failure(let error):
        handshake.failure = error
    }
    if handshake.failure == nil {
        limitSession(ssl: OpaquePointer(ssl), to: certificate)
        return 1
    }
    X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION)
    return 0
}

/// A session is not to be resumed when the certificate that it rests on has ended.
private func limitSession(ssl: OpaquePointer, to certificate: OpaquePointer) {
    guard SSL_is_server(ssl) == 1, let session = SSL_get_session(ssl) else { return }
    let left = PEM.seconds(X509_get0_notAfter(certificate)) - Int64(Clock.wall / 1_000_000_000)
    SSL_SESSION_set_timeout(session, max(1, min(Int(left), TLSContext.sessionLifetime)))
}

// SPDX-License-Identifier: Apache-2.0
import COpenSSL

/// What a node keeps of a handshake so that a later one with the same peer needs no certificates: TLS 1.3 resumption by
/// PSK with ECDHE (RFC 8446 §2.2). It belongs to the certificates that were shown then and does not outlive them.
///
/// `@unchecked`: OpenSSL counts references to a session atomically and does not change one that has been handed out.
package final class ResumableSession: @unchecked Sendable {
    let raw: OpaquePointer
    /// Seconds since the Unix epoch from which on it must not be used: the ticket's lifetime or a certificate is over.
    package let notAfter: Int64

    /// Takes over the caller's reference.
    init(owning raw: OpaquePointer, notAfter: Int64) {
        self.raw = raw
        let lifetime = Int64(SSL_SESSION_get_time(raw)) + Int64(SSL_SESSION_get_ticket_lifetime_hint(raw))
        self.notAfter = min(notAfter, lifetime)
    }

    deinit { SSL_SESSION_free(self.raw) }
}

/// OpenSSL's callback for a ticket that the peer sent. 1: the reference is ours now.
func receivedTicket(_ ssl: OpaquePointer?, _ session: OpaquePointer?) -> CInt {
    guard let ssl, let session, let handshake = TunnelHandshake.owner(of: ssl) else { return 0 }
    return handshake.received(ticket: session) ? 1 : 0
}

// SPDX-License-Identifier: Apache-2.0
import COpenSSL

/// The accepting side before it is known which workload the client wants: a context without a certificate.
///
/// `@unchecked`: see ``TLSIdentity``.
package final class TunnelAcceptor: @unchecked Sendable {
    /// What a node says to a server name.
    package enum Selection {
        /// Present this workload's certificate.
        case identity(TLSIdentity)
        /// The workload is here, its certificate is not yet: ask again at the next ``TunnelHandshake/advance()``.
        case wait
        /// No such workload here.
        case unknown
    }

    let context: OpaquePointer

    package init() throws(TunnelError) { self.context = try TLSContext.make(.accepted) }

    deinit { SSL_CTX_free(self.context) }
}

/// Called by OpenSSL when a ClientHello is complete: chooses the certificate by server name.
func receivedClientHello(
    _ ssl: OpaquePointer?, _ alert: UnsafeMutablePointer<CInt>?, _ argument: UnsafeMutableRawPointer?
) -> CInt {
    guard let ssl, let handshake = TunnelHandshake.owner(of: ssl) else { return SSL_CLIENT_HELLO_ERROR }
    alert?.pointee = CInt(Alert.unrecognizedName)
    var (bytes, count): (UnsafePointer<UInt8>?, Int) = (nil, 0)
    guard SSL_client_hello_get0_ext(ssl, UInt32(TLSEXT_TYPE_server_name), &bytes, &count) == 1,
        let name = serverName(UnsafeRawBufferPointer(start: bytes, count: count))
    else {
        handshake.failure = TunnelError(.unknownServerName, "the client did not say which workload it wants")
        return SSL_CLIENT_HELLO_ERROR
    }
    handshake.serverName = name
    switch handshake.select(name) {
    case .identity(let identity):
        handshake.use(identity)
        return SSL_CLIENT_HELLO_SUCCESS
    case .wait:
        return SSL_CLIENT_HELLO_RETRY
    case .unknown:
        handshake.failure = TunnelError(
            .unknownServerName, "no workload of this node has the name \(PeerVerification.printable(name))")
        return SSL_CLIENT_HELLO_ERROR
    }
}

/// The host name in a server_name extension (RFC 6066 §3): exactly one, of at most 255 printable bytes.
func serverName(_ bytes: UnsafeRawBufferPointer) -> String? {
    guard bytes.count > 5 else { return nil }
    let list = Int(bytes[0]) << 8 | Int(bytes[1])
    let length = Int(bytes[3]) << 8 | Int(bytes[4])
    guard list == bytes.count - 2, bytes[2] == 0, length == bytes.count - 5, (1...255).contains(length) else {
        return nil
    }
    let name = bytes[5...]
    guard name.allSatisfy({ (33...126).contains($0) }) else { return nil }
    return String(decoding: name, as: UTF8.self).lowercased()
}

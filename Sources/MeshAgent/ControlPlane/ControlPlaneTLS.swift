// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRPCNIOTransportHTTP2Posix
import MeshIdentity
import NIOCore
import NIOSSL
import Synchronization
import X509

/// The client side of TLS to the control plane. BoringSSL's own verification is replaced: it would compare host names,
/// while the control plane is recognised by a name only it can have, under whatever address it was dialled.
final class ControlPlaneTLS: Sendable {
    /// How the server proves itself.
    enum Trust: Sendable {
        /// By a root of which only the fingerprint is known; the server must present it.
        case pinned(CertificateFingerprint)
        case bundle(TrustBundle)
    }

    private let trust: Trust
    private let clock: any AgentClock
    private let lastFailure = Mutex<String?>(nil)

    init(trust: Trust, clock: any AgentClock) {
        self.trust = trust
        self.clock = clock
    }

    /// Why the last handshake was refused here: the transport itself only says that it was.
    var failure: String? { self.lastFailure.withLock { $0 } }

    /// - Parameter svid: presented to the server; nil: nothing is.
    func security(presenting svid: SVID?) -> HTTP2ClientTransport.Posix.TransportSecurity {
        var tls = HTTP2ClientTransport.Posix.TransportSecurity.TLS.defaults()
        if let svid {
            tls.certificateChain = svid.chainPEM.map { .bytes(Array($0.utf8), format: .pem) }
            tls.privateKey = .bytes(Array(svid.key.pem.utf8), format: .pem)
        }
        tls.trustRoots = .certificates([])
        // Anything but noVerification makes the callback below run; it alone decides.
        tls.serverCertificateVerification = .noHostnameVerification
        tls.customVerificationCallback = { certificates, promise in
            let presented = Result { try certificates.map { try Certificate.parse(der: $0.toDERBytes()) } }
            promise.completeWithTask { await self.verify(presented) }
        }
        return .tls(tls)
    }

    private func verify(_ presented: Result<[Certificate], any Error>) async -> NIOSSLVerificationResultWithMetadata {
        do throws(IdentityError) {
            guard case .success(let chain) = presented else {
                throw IdentityError(.malformed, "the server's certificates do not parse")
            }
            try await Self.verify(chain, trust: self.trust, now: self.clock.now)
            self.lastFailure.withLock { $0 = nil }
            return .certificateVerified(VerificationMetadata(nil))
        } catch {
            self.lastFailure.withLock { $0 = error.message }
            return .failed
        }
    }

    static func verify(_ chain: [Certificate], trust: Trust, now: Date) async throws(IdentityError) {
        let bundle: TrustBundle
        switch trust {
        case .pinned(let fingerprint): bundle = try TrustBundle.pinned(to: fingerprint, presented: chain)
        case .bundle(let known): bundle = known
        }
        _ = try await bundle.verify(chain: chain, as: .controlPlane, now: now)
    }
}

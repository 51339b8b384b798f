// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshIdentity
import NIOCore
import NIOSSL
import Synchronization

/// The control plane's own certificate and key, for both of its TLS listeners. It is renewed in place: handshakes after
/// a renewal present the new one.
package final class ServerCredentials: Sendable {
    /// Seconds.
    private static let validity: TimeInterval = 30 * 86_400

    private struct Current {
        var chain: [NIOSSLCertificateSource]
        var key: NIOSSLPrivateKeySource
        var renewal: Date
    }

    private let authority: CertificateAuthority
    private let names: [String]
    private let current: Mutex<Current>

    /// - Parameter names: DNS names and IP addresses under which the control plane may be dialled.
    package init(authority: CertificateAuthority, names: [String], now: Date) throws {
        self.authority = authority
        self.names = names
        self.current = Mutex(try Self.issue(authority, names, now))
    }

    /// Makes a new key and certificate once half of the present one's life is over.
    func renewIfDue(now: Date) throws {
        guard self.current.withLock({ $0.renewal <= now }) else { return }
        let new = try Self.issue(self.authority, self.names, now)
        self.current.withLock { $0 = new }
    }

    private static func issue(_ authority: CertificateAuthority, _ names: [String], _ now: Date) throws -> Current {
        let (certificate, key) = try authority.makeServerCertificate(
            names: names, validity: Self.validity, now: now)
        // The root is presented too: a node that joins knows nothing but its fingerprint.
        let chain = try certificate.chainPEM.map { pem in
            NIOSSLCertificateSource.certificate(try NIOSSLCertificate(bytes: Array(pem.utf8), format: .pem))
        }
        return Current(
            chain: chain, key: .privateKey(try NIOSSLPrivateKey(bytes: Array(key.pem.utf8), format: .pem)),
            renewal: now.addingTimeInterval(certificate.notAfter.timeIntervalSince(now) / 2))
    }

    /// For nodes: TLS 1.3, HTTP/2. A client certificate is verified against the authority if there is one; a node that
    /// joins has none yet.
    package func nodeConfiguration() throws -> TLSConfiguration {
        var configuration = self.configuration()
        configuration.certificateVerification = .optionalVerification
        configuration.trustRoots = .certificates([
            try NIOSSLCertificate(bytes: Array(try self.authority.rootPEM().utf8), format: .pem)
        ])
        configuration.applicationProtocols = ["h2"]
        return configuration
    }

    /// For operators: TLS 1.3, HTTP/1.1, no client certificates.
    package func operatorConfiguration() -> TLSConfiguration {
        var configuration = self.configuration()
        configuration.applicationProtocols = ["http/1.1"]
        return configuration
    }

    private func configuration() -> TLSConfiguration {
        let (chain, key) = self.current.withLock { ($0.chain, $0.key) }
        var configuration = TLSConfiguration.makeServerConfiguration(certificateChain: chain, privateKey: key)
        configuration.minimumTLSVersion = .tlsv13
        configuration.sslContextCallback = { _, promise in
            var override = NIOSSLContextConfigurationOverride()
            (override.certificateChain, override.privateKey) = self.current.withLock { ($0.chain, $0.key) }
            promise.succeed(override)
        }
        return configuration
    }
}

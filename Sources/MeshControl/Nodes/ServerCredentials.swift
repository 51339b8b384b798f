// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshIdentity
import NIOCore
import NIOSSL
import Synchronization

/// The control plane's own certificates and keys, for both of its TLS listeners: one under each root that is trusted, so
/// that a node which knows one of them only gets the one that leads to it. They are renewed in place: handshakes after a
/// renewal present the new ones.
package final class ServerCredentials: Sendable {
    /// Seconds.
    private static let validity: TimeInterval = 30 * 86_400

    private struct Certificate {
        var chain: [NIOSSLCertificateSource]
        var key: NIOSSLPrivateKeySource
        var renewal: Date
    }

    private struct Current {
        var authorities: Authorities
        /// By the hint of their root.
        var certificates: [String: Certificate]
        /// Of the root that signs.
        var active: Certificate
        /// For the listener of nodes; verifies their certificates against every root.
        var context: NIOSSLContext?
    }

    private let names: [String]
    private let current: Mutex<Current>

    /// - Parameter names: DNS names and IP addresses under which the control plane may be dialled.
    package init(authorities: Authorities, names: [String], now: Date) throws {
        self.names = names
        let active = try Self.issue(authorities.active, names, now)
        self.current = Mutex(Current(authorities: authorities, certificates: [:], active: active))
        try self.change(authorities, now: now)
    }

    /// Makes certificates under each of these roots.
    package func change(_ authorities: Authorities, now: Date) throws {
        var certificates: [String: Certificate] = [:]
        for authority in authorities.all {
            certificates[try authority.fingerprint().hint] = try Self.issue(authority, self.names, now)
        }
        guard let active = certificates[try authorities.active.fingerprint().hint] else { return }
        let new = Current(authorities: authorities, certificates: certificates, active: active)
        self.current.withLock { $0 = new }
        let context = try NIOSSLContext(configuration: try self.nodeConfiguration())
        self.current.withLock { $0.context = context }
    }

    /// Makes new keys and certificates once half of the present ones' life is over.
    func renewIfDue(now: Date) throws {
        let (authorities, isDue) = self.current.withLock { ($0.authorities, $0.active.renewal <= now) }
        if isDue { try self.change(authorities, now: now) }
    }

    private static func issue(
        _ authority: CertificateAuthority, _ names: [String], _ now: Date
    ) throws -> Certificate {
        let (certificate, key) = try authority.makeServerCertificate(
            names: names, validity: Self.validity, now: now)
        // The root is presented too: a node that joins knows nothing but its fingerprint.
        let chain = try certificate.chainPEM.map { pem in
            NIOSSLCertificateSource.certificate(try NIOSSLCertificate(bytes: Array(pem.utf8), format: .pem))
        }
        return Certificate(
            chain: chain, key: .privateKey(try NIOSSLPrivateKey(bytes: Array(key.pem.utf8), format: .pem)),
            renewal: now.addingTimeInterval(certificate.notAfter.timeIntervalSince(now) / 2))
    }

    /// For the next connection of a node.
    func nodeContext() throws -> NIOSSLContext {
        if let context = self.current.withLock({ $0.context }) { return context }
        return try NIOSSLContext(configuration: try self.nodeConfiguration())
    }

    /// For nodes: TLS 1.3, HTTP/2. A client certificate is verified against the authorities if there is one; a node that
    /// joins has none yet.
    package func nodeConfiguration() throws -> TLSConfiguration {
        var configuration = self.configuration()
        configuration.certificateVerification = .optionalVerification
        configuration.trustRoots = .certificates(
            try self.current.withLock { $0.authorities }.all.map {
                try NIOSSLCertificate(bytes: Array(try $0.rootPEM().utf8), format: .pem)
            })
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
        let active = self.current.withLock { $0.active }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: active.chain, privateKey: active.key)
        configuration.minimumTLSVersion = .tlsv13
        configuration.sslContextCallback = { values, promise in
            let wanted = self.certificate(for: values.serverHostname)
            var override = NIOSSLContextConfigurationOverride()
            (override.certificateChain, override.privateKey) = (wanted.chain, wanted.key)
            promise.succeed(override)
        }
        return configuration
    }

    /// A client that knows one root names it in front of the server's name.
    private func certificate(for serverName: String?) -> Certificate {
        let hint = serverName?.split(separator: ".").first.map(String.init) ?? ""
        return self.current.withLock { $0.certificates[hint] ?? $0.active }
    }
}

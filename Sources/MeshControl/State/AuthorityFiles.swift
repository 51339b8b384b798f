// SPDX-License-Identifier: Apache-2.0

import Foundation
@preconcurrency import Glibc
import MeshIdentity
import MeshStore

/// The roots of the mesh with their keys, each in one file of the control plane's directory (mode 0600), so that there is
/// never one without the other; and `ca.crt`, the certificates alone.
package struct AuthorityFiles: Sendable {
    package let directory: String

    private var databasePath: String { self.directory + "/control.db" }
    /// The first root's, and for an older version of this program the one that signs.
    private var authorityPath: String { self.directory + "/ca.pem" }
    /// For whoever needs to trust them.
    private var certificatePath: String { self.directory + "/ca.crt" }

    /// The mesh's authority; made at the first start.
    ///
    /// - Parameter isInUse: nodes hold certificates already, so that a missing authority is a loss and no first start.
    package func authority(trustDomain: String, isInUse: Bool, now: Date) throws -> CertificateAuthority {
        let authority: CertificateAuthority
        if let kept = try self.read(self.authorityPath) {
            authority = kept
        } else {
            guard !isInUse else {
                throw ControlError(
                    "\(self.authorityPath) is missing, but nodes hold certificates from it: restore it from a backup, "
                        + "or delete \(self.databasePath) as well and join every node again")
            }
            authority = try CertificateAuthority.create(trustDomain: trustDomain, now: now)
            try self.write(authority, to: self.authorityPath)
        }
        try self.check(authority, trustDomain: trustDomain)
        return authority
    }

    /// nil when there is no such file.
    private func read(_ path: String) throws -> CertificateAuthority? {
        guard let bytes = try PrivateFile.read(path, limit: 65_536) else { return nil }
        try PrivateFile.prepare(path)
        let parts = String(decoding: bytes, as: UTF8.self).components(separatedBy: "-----BEGIN PRIVATE KEY-----")
        guard parts.count == 2 else {
            throw ControlError(
                "\(path) is damaged: it must hold a certificate and then a private key in PEM; restore it from a backup"
            )
        }
        do {
            return try CertificateAuthority(rootPEM: parts[0], keyPEM: "-----BEGIN PRIVATE KEY-----" + parts[1])
        } catch {
            throw ControlError("\(path) is damaged: \(error.message); restore it from a backup")
        }
    }

    package func check(_ authority: CertificateAuthority, trustDomain: String) throws {
        guard authority.trustDomain == trustDomain else {
            throw ControlError(
                "the authority in \(self.authorityPath) is for the trust domain \(authority.trustDomain), not "
                    + "\(trustDomain): set --trust-domain \(authority.trustDomain), or use another data directory")
        }
    }

    /// A root that the store names, from whichever of its files has it.
    package func authority(fingerprint: String) throws -> CertificateAuthority {
        let own = self.path(ofRoot: fingerprint)
        for path in [own, self.authorityPath] {
            guard let authority = try self.read(path) else { continue }
            if try authority.fingerprint().description == fingerprint { return authority }
        }
        throw ControlError(
            "neither \(own) nor \(self.authorityPath) holds the root \(fingerprint), which is missing, but nodes rely on "
                + "it: restore the data directory from a backup, or delete \(self.databasePath) as well and join every "
                + "node again")
    }

    private func path(ofRoot fingerprint: String) -> String {
        "\(self.directory)/ca-\(fingerprint.dropFirst("sha256:".count).prefix(16)).pem"
    }

    /// Keeps a root and its key under its own name.
    package func write(_ authority: CertificateAuthority) throws {
        try self.write(authority, to: self.path(ofRoot: authority.fingerprint().description))
    }

    /// Keeps a root under the name of the first one, too.
    package func keepAsFirst(_ authority: CertificateAuthority) throws {
        try self.write(authority, to: self.authorityPath)
    }

    private func write(_ authority: CertificateAuthority, to path: String) throws {
        try PrivateFile.write((try authority.rootPEM() + authority.keyPEM + "\n").utf8, to: path)
    }

    /// Removes the file under a root's own name; one that is not there is no error.
    package func remove(_ authority: CertificateAuthority) {
        guard let fingerprint = try? authority.fingerprint().description else { return }
        unlink(self.path(ofRoot: fingerprint))
    }

    /// Writes every root that is trusted, for whoever needs to trust them.
    package func writeBundle(_ bundle: TrustBundle) throws {
        try PrivateFile.write(bundle.pem.joined().utf8, to: self.certificatePath, mode: 0o644)
    }
}

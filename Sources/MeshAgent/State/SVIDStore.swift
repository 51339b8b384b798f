// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshIdentity
import MeshLinux
import MeshModel
import Synchronization

/// Keeps the certificates and keys of this node's workloads in its data directory: `svids/NAMESPACE+ACCOUNT.pem`, mode
/// 0600, certificate chain and key in one file. A file proves itself: its chain must lead to the trust bundle.
package final class SVIDStore: Sendable {
    /// As many as there can be workloads; what comes beyond is not kept.
    private static let maximumFiles = 4096
    private static let maximumBytes = 256 << 10
    private static let suffix = ".pem"
    private static let keyMark = "-----BEGIN PRIVATE KEY-----"

    private let directory: String
    private let queue: StateQueue
    private let faults: StateFaults
    private let logger: Logger
    /// Names of the files that are there.
    private let names: Mutex<Set<String>>

    package init(directory: String, queue: StateQueue, faults: StateFaults, logger: Logger) {
        self.directory = "\(directory)/svids"
        self.queue = queue
        self.faults = faults
        self.logger = logger
        let found = (try? FileTree.names(in: self.directory)) ?? []
        self.names = Mutex(Set(found.filter { $0.hasSuffix(Self.suffix) }))
    }

    /// nil for what is no workload's identity.
    private static func name(_ identity: SPIFFEID) -> String? {
        guard case .workload(let namespace, let account) = identity.subject else { return nil }
        return "\(namespace)+\(account)\(Self.suffix)"
    }

    /// A kept certificate that is good now; nil: there is none.
    ///
    /// - Parameter bundle: what it must lead to.
    package func load(_ identity: SPIFFEID, bundle: TrustBundle, now: Date) async -> SVID? {
        guard let name = Self.name(identity), self.names.withLock({ $0.contains(name) }) else { return nil }
        let path = "\(self.directory)/\(name)"
        do {
            guard let bytes = try SecretFile.readPrivate(path, limit: Self.maximumBytes) else { return nil }
            let text = String(decoding: bytes, as: UTF8.self)
            guard let mark = text.range(of: Self.keyMark) else { throw StateRefusal(.damaged, "is incomplete") }
            let chain = String(text[..<mark.lowerBound])
            // A clock that is behind must not cost what its peers, whose clocks are right, accept.
            let judged = max(now, try SVID.validity(ofChain: chain).lowerBound)
            return try await SVID(
                identity: identity, chainPEM: [chain], key: IdentityKey(pem: String(text[mark.lowerBound...])),
                bundle: bundle, now: judged)
        } catch {
            // An ordinary thing after a long rest: it has expired.
            self.logger.notice(
                "a kept certificate is not used", metadata: ["file": "\(path)", "reason": "\(error)"])
            return nil
        }
    }

    /// Writes it some time soon. What cannot be written is told of, and is missing at the next start.
    package func save(_ svid: SVID) {
        guard let name = Self.name(svid.identity) else { return }
        let isRoom = self.names.withLock { names in
            guard names.count < Self.maximumFiles || names.contains(name) else { return false }
            names.insert(name)
            return true
        }
        guard isRoom else {
            self.faults.report("svids", "\(self.directory) holds \(Self.maximumFiles) certificates, its limit")
            return
        }
        self.queue.submit {
            do throws(ControlPlaneError) {
                try SecretFile.prepare(directory: self.directory)
                let path = "\(self.directory)/\(name)"
                // A workload that went meanwhile took its file along.
                guard self.names.withLock({ $0.contains(name) }) else { return }
                try SecretFile.write(svid.chainText + svid.key.pem + "\n", to: path)
                self.faults.clear("svids")
            } catch {
                self.faults.report("svids", error.message)
            }
        }
    }

    /// Removes the keys of identities that have no workload here any more.
    package func prune(keeping identities: Set<SPIFFEID>) {
        let kept = Set(identities.compactMap(Self.name))
        let gone = self.names.withLock { names in
            defer { names.formIntersection(kept) }
            return names.subtracting(kept)
        }
        if gone.isEmpty { return }
        self.queue.submit { for name in gone { SecretFile.remove("\(self.directory)/\(name)") } }
    }
}

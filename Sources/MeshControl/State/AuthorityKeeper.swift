// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshIdentity
import MeshStore
import Synchronization

/// Keeps the mesh's roots and changes one for another without anybody noticing:
///
///     steady --rotate--> adding --activate--> switched --retire--> steady
///                          \____ cancel ____/ (back)
///
/// While adding, nodes are told to trust the next root as well. It begins to sign when every node has said that it and
/// its data plane trust it. While switched, certificates under the old root are renewed, and it goes when none is left.
package final class AuthorityKeeper: Sendable {
    package enum Phase: String, Sendable { case steady, adding, switched }

    /// A node for which a rotation waits.
    package struct Waiting: Sendable, Hashable {
        package var node: String
        package var isAlive: Bool
        package var reason: String
    }

    /// Since when every node has said so; loops may need a moment after it.
    private static let settling = Duration.seconds(2)

    private let store: Store
    private let files: AuthorityFiles
    private let liveness: NodeLiveness
    private let logger: Logger
    private let current: Mutex<Authorities>
    private let readySince = Mutex<ContinuousClock.Instant?>(nil)
    private let onChange = Mutex<(@Sendable (Authorities) throws -> Void)?>(nil)

    /// Reads what the store and the data directory hold; makes the first root of a new mesh.
    package init(
        store: Store, files: AuthorityFiles, liveness: NodeLiveness, trustDomain: String, isInUse: Bool, now: Date,
        logger: Logger
    ) async throws {
        self.store = store
        self.files = files
        self.liveness = liveness
        self.logger = logger
        var records = try await store.authorities()
        if records.isEmpty {
            let first = try files.authority(trustDomain: trustDomain, isInUse: isInUse, now: now)
            let record = AuthorityRecord(
                fingerprint: try first.fingerprint().description, certificate: try first.rootPEM(), state: .active,
                addedAt: now)
            try await store.addAuthority(record)
            records = [record]
        }
        var found: [AuthorityRecord.State: CertificateAuthority] = [:]
        for record in records {
            let authority = try files.authority(fingerprint: record.fingerprint)
            try files.check(authority, trustDomain: trustDomain)
            found[record.state] = authority
        }
        guard let active = found[.active] else {
            throw ControlError(
                "the store in \(files.directory) names no root that signs: restore the data directory from a backup")
        }
        self.current = Mutex(Authorities(active: active, next: found[.next], old: found[.old]))
        try files.writeBundle(self.authorities.bundle())
    }

    package var authorities: Authorities { self.current.withLock { $0 } }

    package var phase: Phase {
        let authorities = self.authorities
        return authorities.next != nil ? .adding : authorities.old != nil ? .switched : .steady
    }

    /// Told of each change, before nodes are.
    package func whenChanged(_ body: @escaping @Sendable (Authorities) throws -> Void) {
        self.onChange.withLock { $0 = body }
    }

    // MARK: - Steps

    /// Makes a new root and has nodes trust it as well.
    package func rotate(now: Date) async throws {
        let next = try CertificateAuthority.create(trustDomain: self.authorities.active.trustDomain, now: now)
        // The key first: a root in the store without one could not be loaded.
        try self.files.write(next)
        do {
            try await self.store.addAuthority(
                AuthorityRecord(
                    fingerprint: try next.fingerprint().description, certificate: try next.rootPEM(), state: .next,
                    addedAt: now))
        } catch {
            self.files.remove(next)
            throw error
        }
        self.readySince.withLock { $0 = nil }
        try self.change { $0.next = next }
        let fingerprint = try next.fingerprint()
        self.logger.notice(
            "a rotation of the root began: nodes are told to trust the next one",
            metadata: ["fingerprint": "\(fingerprint)"])
    }

    /// Takes a next root back that does not sign yet.
    package func cancel() async throws {
        let next = self.authorities.next
        try await self.store.removeAuthority(.next)
        try self.change { $0.next = nil }
        if let next { self.files.remove(next) }
        self.logger.notice("the rotation of the root was cancelled")
    }

    /// The next root signs from now on.
    ///
    /// - Parameter force: also when there are nodes that do not trust it yet.
    package func activate(force: Bool) async throws {
        if self.authorities.next != nil, !force { try self.refuse(await self.waiting(), "activate") }
        try await self.store.activateNextAuthority()
        try self.change { authorities in
            guard let next = authorities.next else { return }
            authorities = Authorities(active: next, next: nil, old: authorities.active)
        }
        let fingerprint = try self.authorities.active.fingerprint()
        self.logger.notice("another root signs from now on", metadata: ["fingerprint": "\(fingerprint)"])
    }

    /// The old root is trusted no more.
    ///
    /// - Parameter force: also when nodes still use certificates under it; those nodes have to join again.
    package func retire(force: Bool) async throws {
        if self.phase == .switched, !force { try self.refuse(await self.waiting(), "retire") }
        let old = self.authorities.old
        try await self.store.removeAuthority(.old)
        try self.change { $0.old = nil }
        // Under its first name as well, where an older version of this program looks for it.
        try self.files.keepAsFirst(self.authorities.active)
        if let old { self.files.remove(old) }
        self.logger.notice("the old root is retired: nobody trusts it any more")
    }

    /// Goes on with a rotation that waits for nobody any more; called once a second.
    ///
    /// - Returns: whether nodes have to be told of something.
    package func advance() async throws -> Bool {
        guard self.authorities.next != nil, try await self.waiting().isEmpty else {
            self.readySince.withLock { $0 = nil }
            return false
        }
        let now = ContinuousClock.now
        let since = self.readySince.withLock { since in
            since = since ?? now
            return since ?? now
        }
        guard now - since >= Self.settling else { return false }
        try await self.activate(force: false)
        return true
    }

    /// Whom the next step waits for; nobody in the steady phase.
    package func waiting() async throws -> [Waiting] {
        let (authorities, phase) = (self.authorities, self.phase)
        if phase == .steady { return [] }
        let next = try authorities.next?.fingerprint().description
        let active = try authorities.active.fingerprint().description
        return try await self.store.nodes().compactMap { node in
            let isAlive = self.liveness.isAlive(node.name)
            let reason: String
            switch phase {
            case .steady: return nil
            case .adding:
                guard let next, !node.trustedRoots.contains(next) else { return nil }
                reason =
                    node.trustedRoots.isEmpty ? "has not said yet which roots it trusts" : "does not trust it yet"
            case .switched:
                if !node.issuingRoots.isEmpty, node.issuingRoots.allSatisfy({ $0 == active }) { return nil }
                reason =
                    node.issuingRoots.isEmpty
                    ? "has not said yet which root its certificates lead to" : "still uses certificates under it"
            }
            return Waiting(
                node: node.name, isAlive: isAlive, reason: isAlive ? reason : "is away, and \(reason)")
        }
    }

    private func refuse(_ waiting: [Waiting], _ verb: String) throws {
        guard let first = waiting.first else { return }
        let more = waiting.count > 1 ? " (and \(waiting.count - 1) more)" : ""
        throw StoreError(
            .conflict,
            "node \(first.node) \(first.reason)\(more): wait, delete nodes that will not return, or cut them off with "
                + "'nodemeshctl ca \(verb) --force'; they have to join again then")
    }

    private func change(_ body: (inout Authorities) -> Void) throws {
        let authorities = self.current.withLock { current in
            body(&current)
            return current
        }
        try self.files.writeBundle(authorities.bundle())
        try self.onChange.withLock { $0 }?(authorities)
    }
}

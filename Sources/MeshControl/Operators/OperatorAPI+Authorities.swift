// SPDX-License-Identifier: Apache-2.0

import Foundation
import HTTPTypes
import MeshAdminAPI
import MeshIdentity
import MeshStore
import X509

/// The mesh's roots, and what an operator can do with them.
extension OperatorAPI {
    package func authorityStatus() async throws -> AuthorityStatus {
        let (authorities, phase) = (self.authorities.authorities, self.authorities.phase)
        var roots = [try Self.root(authorities.active, "active")]
        if let next = authorities.next { roots.append(try Self.root(next, "next")) }
        if let old = authorities.old { roots.append(try Self.root(old, "old")) }
        let waiting: [AuthorityKeeper.Waiting]
        do {
            waiting = try await self.authorities.waiting()
        } catch let error as StoreError {
            throw APIError(error)
        }
        return AuthorityStatus(
            phase: phase.rawValue, roots: roots,
            waiting: waiting.map { .init(node: $0.node, isAlive: $0.isAlive, reason: $0.reason) })
    }

    private static func root(_ authority: CertificateAuthority, _ state: String) throws -> AuthorityStatus.Root {
        AuthorityStatus.Root(
            fingerprint: try authority.fingerprint().description, state: state,
            notBefore: authority.root.notValidBefore, notAfter: authority.root.notValidAfter)
    }

    /// The steps of a rotation.
    package enum AuthorityStep: String, Sendable, CaseIterable { case rotate, activate, retire, cancel }

    /// - Parameter force: also when nodes are not ready for it.
    package func perform(_ step: AuthorityStep, force: Bool) async throws -> AuthorityStatus {
        do {
            switch step {
            case .rotate: try await self.authorities.rotate(now: Date())
            case .activate: try await self.authorities.activate(force: force)
            case .retire: try await self.authorities.retire(force: force)
            case .cancel: try await self.authorities.cancel()
            }
        } catch let error as StoreError {
            throw APIError(error)
        }
        self.publisher.changed()
        return try await self.authorityStatus()
    }

    /// The store was restored from a backup, and that is meant.
    package func acceptRestore() async throws {
        do {
            guard try await self.restored.accept(present: self.store.presentRevision()) else {
                throw APIError(
                    .conflict,
                    "there is nothing to accept: no node that was heard from has seen a newer store than this one")
            }
        } catch let error as StoreError {
            throw APIError(error)
        }
        self.publisher.changed()
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import HTTPTypes
import Logging
import MeshAdminAPI
import MeshConfiguration
import MeshDiscovery
import MeshIdentity
import MeshModel
import MeshResources
import MeshStore
import MeshTelemetry

/// What operators can do, without HTTP. Every refusal is an ``APIError``.
package struct OperatorAPI: Sendable {
    let store: Store
    let publisher: MeshPublisher
    let liveness: NodeLiveness
    let sessions: NodeSessions
    let discovery: DiscoveryServer
    let recent: RecentConnections
    let authorities: AuthorityKeeper
    let restored: RestoreWatch
    let settings: MeshSettings
    /// The first is what the join line names.
    let advertise: [HostPort]
    let metrics: ControlMetrics
    let live: LiveConfiguration<ControlConfiguration>
    let logs: LogLevels
    let logger: Logger
    let startedAt: Date

    // MARK: - Resources

    /// Stores every resource in `text` or none.
    package func apply(_ text: String, dryRun: Bool) async throws -> ApplyResponse {
        let located = try self.decode(text)
        let changes = try located.map { try ResourceChange($0.resource) }
        let check = ConflictCheck(keys: Set(changes.map(\.key)), settings: self.settings)
        let outcomes: [ResourceOutcome]
        do {
            outcomes = try await self.store.apply(changes, dryRun: dryRun, check: check.callAsFunction)
        } catch {
            throw self.refusal(error, located)
        }
        return self.answer(located, outcomes, dryRun: dryRun)
    }

    /// Removes every resource that `text` names or, if one does not exist and that matters, none.
    package func delete(
        _ text: String, dryRun: Bool, ignoringAbsent: Bool = false
    ) async throws -> ApplyResponse {
        let located = try self.decode(text)
        let outcomes: [ResourceOutcome]
        do {
            outcomes = try await self.store.delete(
                located.map(\.resource.key), dryRun: dryRun, ignoringAbsent: ignoringAbsent)
        } catch {
            throw self.refusal(error, located)
        }
        return self.answer(located, outcomes, dryRun: dryRun)
    }

    package func delete(_ key: ResourceKey) async throws {
        do {
            _ = try await self.store.delete([key])
        } catch {
            throw self.refusal(error, [])
        }
        self.logger.notice("a resource was deleted", metadata: ["resource": "\(key)"])
        self.publisher.changed()
    }

    /// JSON texts, sorted by name.
    package func resources(kind: ResourceKind, namespace: String?, name: String?) async throws -> [String] {
        let records: [ResourceRecord]
        do {
            records = try await self.store.resources(kind: kind, namespace: namespace, name: name)
        } catch {
            throw self.refusal(error, [])
        }
        if let name, records.isEmpty {
            throw APIError(.notFound, "there is no \(kind.rawValue) \(namespace ?? "")/\(name)")
        }
        return records.map(\.json)
    }

    func decode(_ text: String) throws -> [ResourceDecoder.Located] {
        switch ResourceDecoder.decodeLocated(text: text) {
        case .success(let located): return located
        case .failure(let invalid):
            self.metrics.refused(.resources)
            let count = invalid.problems.count
            throw APIError(
                .unprocessableContent,
                ErrorResponse(
                    error: "nothing was changed: \(count == 1 ? "there is a problem" : "there are \(count) problems") "
                        + "in what was sent", problems: invalid.problems))
        }
    }

    private func answer(
        _ located: [ResourceDecoder.Located], _ outcomes: [ResourceOutcome], dryRun: Bool
    ) -> ApplyResponse {
        let results = zip(located, outcomes).map { located, outcome in
            ApplyResult(
                kind: located.resource.kind.rawValue, namespace: located.resource.metadata.namespace,
                name: located.resource.metadata.name, outcome: .init(outcome))
        }
        if !dryRun, outcomes.contains(where: { $0 != .unchanged }) {
            for result in results where result.outcome != .unchanged {
                self.logger.notice(
                    "a resource was \(result.outcome.rawValue)",
                    metadata: ["resource": "\(result.kind) \(result.namespace)/\(result.name)"])
            }
            self.publisher.changed()
        }
        return ApplyResponse(results: results)
    }

    private func refusal(_ error: StoreError, _ located: [ResourceDecoder.Located]) -> APIError {
        guard error.code == .conflict, !error.conflicts.isEmpty else { return APIError(error) }
        self.metrics.refused(.resources)
        let problems = error.conflicts.map { conflict in
            located.first { $0.resource.key == conflict.key }?.problem(path: conflict.path, reason: conflict.reason)
                ?? ResourceProblem(
                    document: 1, kind: conflict.key.kind.rawValue, namespace: conflict.key.namespace,
                    name: conflict.key.name, path: conflict.path, reason: conflict.reason)
        }
        return APIError(
            .conflict,
            ErrorResponse(error: "nothing was changed: what was sent is in conflict with the mesh", problems: problems))
    }

    // MARK: - Join tokens

    package static let defaultTokenTTL = 3600
    private static let tokenTTLs = 1...(7 * 86_400)

    package func createJoinToken(_ request: JoinTokenRequest) async throws -> JoinTokenResponse {
        let ttl = request.ttlSeconds ?? Self.defaultTokenTTL
        guard Self.tokenTTLs.contains(ttl) else {
            throw APIError(.badRequest, "ttlSeconds: \(ttl) is not from 1 to \(Self.tokenTTLs.upperBound)")
        }
        if let node = request.node, !SPIFFEID.isValidSegment(node) {
            throw APIError(
                .badRequest, "node: '\(node.prefix(64))' is not a node name: letters, digits, '.', '-' and '_' only")
        }
        let (token, now) = (JoinToken.make(), Date())
        let expiresAt = now.addingTimeInterval(TimeInterval(ttl))
        do {
            try await self.store.addJoinToken(
                id: token.id, hash: token.hash, node: request.node, createdAt: now, expiresAt: expiresAt)
        } catch {
            throw APIError(error)
        }
        self.logger.notice(
            "a join token was made", metadata: ["token.id": "\(token.id)", "node.id": "\(request.node ?? "any")"])
        let fingerprint = try self.authorities.authorities.active.fingerprint().description
        let command =
            ["sudo nodemeshctl install-node", "--control", self.advertise.first?.description ?? "HOST:PORT"]
            + ["--ca-fingerprint", fingerprint, "--join-token", token.text]
            + (request.node.map { ["--node", $0] } ?? [])
        return JoinTokenResponse(
            token: token.text, node: request.node, expiresAt: expiresAt, caFingerprint: fingerprint,
            command: command.joined(separator: " "))
    }

    package func joinTokens() async throws -> [JoinTokenSummary] {
        do {
            return try await self.store.joinTokens().map {
                JoinTokenSummary(
                    id: $0.id, node: $0.node, createdAt: $0.createdAt, expiresAt: $0.expiresAt, usedAt: $0.usedAt,
                    usedBy: $0.usedBy)
            }
        } catch {
            throw APIError(error)
        }
    }

    package func deleteJoinToken(_ id: String) async throws {
        do { try await self.store.deleteJoinToken(id) } catch { throw APIError(error) }
    }

    // MARK: - Nodes

    package func deleteNode(_ name: String) async throws {
        do { try await self.store.deleteNode(name) } catch { throw APIError(error) }
        self.liveness.forget(name)
        self.sessions.end(name)
        self.recent.forget(name)
        self.publisher.changed()
        self.logger.notice("a node was deleted", metadata: ["node.id": "\(name)"])
    }
}

extension ResourceChange {
    init(_ resource: Resource) throws {
        var address = VirtualAddress.none
        if case .service(let service) = resource, !service.isHeadless {
            address = service.virtualAddress
        }
        self.init(key: resource.key, json: try resource.canonicalJSON(), address: address)
    }
}

extension ApplyResult.Outcome {
    fileprivate init(_ outcome: ResourceOutcome) {
        self =
            switch outcome {
            case .created: .created
            case .configured: .configured
            case .unchanged: .unchanged
            case .deleted: .deleted
            }
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRPCCore
import Logging
import MeshAPI
import MeshIdentity
import MeshModel
import MeshStore
import SwiftProtobuf

/// Joining, registration and heartbeats.
struct NodeService: Nodemesh_V1_NodeService.SimpleServiceProtocol {
    let authenticator: NodeAuthenticator
    let issuer: Issuer
    let store: Store
    let liveness: NodeLiveness
    let sessions: NodeSessions
    let publisher: MeshPublisher
    let recent: RecentConnections
    let restored: RestoreWatch
    let metrics: ControlMetrics
    let logger: Logger

    /// Seconds between a node's reports of recent connections.
    private static let reportInterval: UInt32 = 10

    /// Three may be lost before the node counts as dead.
    private var heartbeatInterval: UInt32 { UInt32(max(1, self.liveness.timeout.components.seconds / 3)) }

    func join(
        request: Nodemesh_V1_JoinRequest, context: ServerContext
    ) async throws -> Nodemesh_V1_JoinResponse {
        do {
            return try await self.join(request)
        } catch let error as RPCError {
            self.logger.warning(
                "a node was not let in",
                metadata: [
                    "node.id": "\(request.nodeName.prefix(253))", "peer": "\(context.remotePeer)",
                    "reason": "\(error.message)",
                ])
            throw error
        }
    }

    func join(_ request: Nodemesh_V1_JoinRequest) async throws -> Nodemesh_V1_JoinResponse {
        let name = request.nodeName
        let authorities = self.issuer.authorities.authorities
        let authority = authorities.active
        guard let identity = SPIFFEID(trustDomain: authority.trustDomain, subject: .node(name)) else {
            throw RPCError(
                code: .invalidArgument,
                message: "'\(name.prefix(64))' is not a node name: letters, digits, '.', '-' and '_' only")
        }
        guard let token = JoinToken(request.token) else {
            self.metrics.refused(.joinToken)
            throw RPCError(code: .unauthenticated, message: "the join token is not of the form nmjt.<id>.<secret>")
        }
        let attempt = JoinAttempt(tokenID: token.id, hash: token.hash, node: name)
        let certificate: IssuedCertificate
        let record: CertificateRecord
        do {
            // A request that cannot be signed must not use up the token, nor a stranger get a signature.
            try await self.store.checkJoin(attempt, now: Date())
            certificate = try self.issuer.sign(request.csr, for: identity, validity: nil)
            record = self.issuer.record(certificate, for: identity, node: name)
            try await self.store.join(attempt, joinID: UUID().uuidString, certificate: record, now: Date())
        } catch let error as StoreError {
            if error.code == .tokenRefused { self.metrics.refused(.joinToken) }
            throw error.rpcError
        }
        self.sessions.end(name)
        self.liveness.heard(name, now: .now)
        self.publisher.changed()
        self.issuer.issued(record, .node)
        self.logger.notice("a node joined", metadata: ["node.id": "\(name)"])
        var response = Nodemesh_V1_JoinResponse()
        response.certChain = certificate.chainPEM
        response.trustBundle = try authorities.bundle().pem
        response.trustDomain = authority.trustDomain
        return response
    }

    func syncWorkloads(
        request: Nodemesh_V1_SyncWorkloadsRequest, context: ServerContext
    ) async throws -> Nodemesh_V1_SyncWorkloadsResponse {
        try await self.sync(request, of: try await self.authenticator.authenticate(context))
    }

    func sync(
        _ request: Nodemesh_V1_SyncWorkloadsRequest, of node: AuthenticatedNode
    ) async throws -> Nodemesh_V1_SyncWorkloadsResponse {
        let endpoint: (addresses: [IPAddress], port: UInt16, locality: Locality)
        switch RegistrationReader.endpoint(request) {
        case .success(let value): endpoint = value
        case .failure(let error): throw RPCError(code: .invalidArgument, message: error.message)
        }
        var reader = RegistrationReader(virtualPrefixes: self.store.virtualPrefixes)
        for workload in request.workloads { reader.read(workload, node: node.name) }
        let result: RegistrationResult
        do {
            let liveness = self.liveness
            result = try await self.store.register(
                NodeRegistration(
                    node: node.name, joinID: node.joinID, addresses: endpoint.addresses, tunnelPort: endpoint.port,
                    generation: request.generation, locality: endpoint.locality, workloads: reader.workloads),
                now: Date(),
                isAlive: { liveness.isAlive($0) })
        } catch {
            throw error.rpcError
        }
        if self.liveness.heard(node.name, now: .now) || result.changed { self.publisher.changed() }
        let refusals = reader.refusals + result.refusals
        for refusal in refusals {
            self.logger.warning(
                "a workload was not registered",
                metadata: [
                    "node.id": "\(node.name)", "workload.id": "\(refusal.id)", "reason": "\(refusal.reason)",
                ])
        }
        self.metrics.refused(.workload, count: refusals.count)
        var response = Nodemesh_V1_SyncWorkloadsResponse()
        response.heartbeatIntervalSeconds = self.heartbeatInterval
        response.refusals = refusals.map { refusal in
            var wire = Nodemesh_V1_SyncWorkloadsResponse.Refusal()
            wire.namespace = refusal.id.namespace
            wire.name = refusal.id.name
            wire.reason = refusal.reason
            return wire
        }
        return response
    }

    func heartbeat(
        request: Nodemesh_V1_HeartbeatRequest, context: ServerContext
    ) async throws -> Nodemesh_V1_HeartbeatResponse {
        let node = try await self.authenticator.authenticate(context)
        let record: NodeRecord?
        do {
            record = try await self.store.node(node.name)
        } catch {
            throw error.rpcError
        }
        if let record { try await self.take(request, of: record) }
        if self.liveness.heard(node.name, now: .now) {
            self.logger.notice("a node is heard from again", metadata: ["node.id": "\(node.name)"])
            self.publisher.changed()
        }
        var response = Nodemesh_V1_HeartbeatResponse()
        response.resync = record?.generation != request.generation
        response.heartbeatIntervalSeconds = self.heartbeatInterval
        return response
    }

    func reportConnections(
        request: Nodemesh_V1_ReportConnectionsRequest, context: ServerContext
    ) async throws -> Nodemesh_V1_ReportConnectionsResponse {
        try self.report(request, of: try await self.authenticator.authenticate(context), now: Date())
    }

    func report(
        _ request: Nodemesh_V1_ReportConnectionsRequest, of node: AuthenticatedNode, now: Date
    ) throws(RPCError) -> Nodemesh_V1_ReportConnectionsResponse {
        let now = Int64(now.timeIntervalSince1970)
        self.recent.add(
            try ReportReader.read(request, now: now), dropped: request.dropped, from: node.name, run: request.run,
            sequence: request.sequence, now: now)
        return .with { $0.intervalSeconds = Self.reportInterval }
    }

    /// What a node says of trust, and of this store.
    private func take(_ request: Nodemesh_V1_HeartbeatRequest, of node: NodeRecord) async throws {
        // A node trusts as many roots as a bundle may have.
        let trusted = request.trustedRoots.prefix(64).compactMap { CertificateFingerprint($0)?.description }.sorted()
        let issuing = request.issuingRoots.prefix(64).compactMap { CertificateFingerprint($0)?.description }.sorted()
        do throws(StoreError) {
            if (trusted, issuing) != (node.trustedRoots, node.issuingRoots) {
                try await self.store.setRoots(of: node.name, trusted: trusted, issuing: issuing)
            }
            let present = try await self.store.presentRevision()
            self.restored.heard(request.seenRevision, from: node.name, present: present)
        } catch {
            throw error.rpcError
        }
    }
}

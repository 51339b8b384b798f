// SPDX-License-Identifier: Apache-2.0

import Foundation
import HTTPTypes
import MeshAdminAPI
import MeshModel
import MeshResources
import MeshStore

/// Trying policies out on what has happened.
extension OperatorAPI {
    /// Connections that a request may bring itself.
    private static let maximumConnections = 100_000

    package func testPolicies(_ request: PolicyTestRequest, now: Date = Date()) async throws -> PolicyTestResult {
        let seconds = request.sinceSeconds ?? Int(RecentConnections.retention)
        guard (1...Int(RecentConnections.retention)).contains(seconds) else {
            throw APIError(
                .badRequest,
                "sinceSeconds: \(seconds) is not from 1 to \(RecentConnections.retention): connections of an hour are kept"
            )
        }
        let located = try self.decode(request.resources)
        let foreign = located.filter { ![.authorizationPolicy, .peerAuthentication].contains($0.resource.kind) }
        guard foreign.isEmpty else {
            throw APIError(
                .unprocessableContent,
                ErrorResponse(
                    error: "only policies can be tested",
                    problems: foreign.map {
                        $0.problem(path: "kind", reason: "has to be AuthorizationPolicy or PeerAuthentication")
                    }))
        }
        let (present, proposed) = try await self.proposal(located.map(\.resource), replace: request.replace ?? false)
        var test = PolicyTest(present: present, proposed: proposed)
        let seen = Int64(now.timeIntervalSince1970)
        let since = seen - Int64(seconds)
        var notes = Self.notes(on: located.map(\.resource))
        if let connections = request.connections {
            for (connection, tally) in try Self.read(connections) { test.add(connection, tally, from: nil) }
            return test.result(since: since, dropped: 0, nodes: nil, silent: nil, notes: notes)
        }
        let recent = self.recent.recent(since: since, now: seen)
        for (key, tally) in recent.connections { test.add(key.connection, tally, from: key.node) }
        if self.recent.startedAt > since {
            notes.append(
                "the control plane started \(Self.age(seen - self.recent.startedAt)) ago: older connections are not known"
            )
        }
        let silent = self.liveness.alive.subtracting(recent.nodes).sorted()
        return test.result(
            since: since, dropped: recent.dropped, nodes: recent.nodes, silent: silent, notes: notes)
    }

    /// The mesh as nodes are told of it now, and as they would be told of it with these policies.
    private func proposal(
        _ resources: [Resource], replace: Bool
    ) async throws -> (present: MeshProjection, proposed: MeshProjection) {
        let keys = Set(resources.map(\.key))
        do {
            return try await self.publisher.proposal { stored in
                let kept = stored.filter { entry in
                    switch entry.resource.kind {
                    case .authorizationPolicy, .peerAuthentication: !replace && !keys.contains(entry.resource.key)
                    case .service, .workload, .destinationRule, .connectionLimits: true
                    }
                }
                // One that takes another one's place keeps its age, by which conflicts are settled.
                let ages = Dictionary(
                    stored.map { ($0.resource.key, $0.created) }, uniquingKeysWith: { first, _ in first })
                return kept + resources.map { DecodedResource(resource: $0, created: ages[$0.key] ?? .max) }
            }
        } catch let error as StoreError {
            throw APIError(error)
        }
    }

    private static func notes(on resources: [Resource]) -> [String] {
        resources.compactMap { resource in
            guard case .authorizationPolicy(let policy) = resource, policy.isDryRun else { return nil }
            return "AuthorizationPolicy \(policy.id) is for a dry run: it changes nothing until that annotation goes"
        }
    }

    private static func read(
        _ connections: [RecordedConnection]
    ) throws(APIError) -> [(DecidedConnection, DecidedTally)] {
        guard connections.count <= Self.maximumConnections else {
            throw APIError(.contentTooLarge, "at most \(Self.maximumConnections) different connections can be tested")
        }
        var result: [(DecidedConnection, DecidedTally)] = []
        for (index, connection) in connections.enumerated() {
            guard let read = DecidedConnection(connection) else {
                throw APIError(
                    .unprocessableContent, "connections[\(index)]: a name, an identity or an address is not one")
            }
            let tally = DecidedTally(
                count: connection.count, first: Int64(connection.firstSeen.timeIntervalSince1970),
                last: Int64(connection.lastSeen.timeIntervalSince1970))
            result.append((read, tally))
        }
        return result
    }

    private static func age(_ seconds: Int64) -> String {
        seconds < 120 ? "\(max(0, seconds)) s" : "\(seconds / 60) min"
    }
}

extension DecidedConnection {
    fileprivate init?(_ recorded: RecordedConnection) {
        guard let address = IPAddress(recorded.sourceAddress), let workload = WorkloadID(recorded.workload),
            let destination = SocketAddress(recorded.destination)
        else { return nil }
        let (source, identity) = (recorded.source.map { WorkloadID($0) }, recorded.sourceIdentity.map { SPIFFEID($0) })
        if case .some(nil) = source { return nil }
        if case .some(nil) = identity { return nil }
        self.init(
            source: source ?? nil, sourceIdentity: identity ?? nil, sourceIP: address, workload: workload,
            destination: destination, isDenied: recorded.isDenied)
    }
}

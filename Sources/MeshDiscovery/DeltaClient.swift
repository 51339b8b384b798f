// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import MeshModel
import SwiftProtobuf

/// The client's half of delta discovery: what it holds, and what it answers. It outlives its streams, so that a new
/// stream resumes where the last one broke.
///
///     disconnected --connected()--> connected --disconnected()--> disconnected
///
/// It owns no socket, clock or logger.
package struct DeltaClient: Sendable {
    /// What a response brought.
    package struct Received: Sendable {
        /// The ACK or NACK to send, at once.
        package var reply: Envoy_Service_Discovery_V3_DeltaDiscoveryRequest
        package var type: ResourceType
        /// Whether anything that is held changed.
        package var isChanged: Bool
        /// The resources that were refused, with the reason; the previous versions stay.
        package var refused: [Refusal]
    }

    package struct Refusal: Sendable, Hashable, CustomStringConvertible {
        package var name: String
        package var reason: String
        package var description: String { "\(self.name.prefix(256)): \(self.reason)" }
    }

    struct Held: Sendable {
        /// Empty: not known, so that a server sends it again.
        var version: String
        var resource: MeshResource
    }

    /// One type's resources, and how far this stream has come with them.
    struct Table: Sendable {
        var resources: [String: Held] = [:]
        /// Refused without a previous version to keep.
        var refused: [String: AuthorizationPolicy] = [:]
        /// Some stream has told all of it once.
        var isComplete = false
        /// More of the same change follows.
        var isPartial = false
    }

    private let node: Envoy_Service_Discovery_V3_Node
    let trustDomain: String
    let limits: DiscoveryLimits
    var tables: [ResourceType: Table] = [:]
    private var isConnected = false
    /// The newest revision of the control plane's store that a response told; 0: none did.
    package internal(set) var revision: UInt64

    /// - Parameters:
    ///   - node: sent in the first request of each stream.
    ///   - trustDomain: of the workloads that name none.
    ///   - seenRevision: of the control plane's store, by an earlier client of this node.
    package init(node: String, trustDomain: String, limits: DiscoveryLimits = .init(), seenRevision: UInt64 = 0) {
        self.revision = seenRevision
        self.node = .with { $0.id = node }
        self.trustDomain = trustDomain
        self.limits = limits
    }

    /// A stream opened.
    ///
    /// - Returns: the requests to send first: all of every type, less what is held already.
    package mutating func connected() -> [Envoy_Service_Discovery_V3_DeltaDiscoveryRequest] {
        self.isConnected = true
        return ResourceType.allCases.map { type in
            self.tables[type, default: Table()].isPartial = false
            return .with {
                if type == ResourceType.allCases.first { $0.node = self.node }
                $0.typeURL = type.typeURL
                let table = self.tables[type] ?? Table()
                // Of what was refused the server tells again, or that it is gone.
                $0.initialResourceVersions = table.resources.mapValues(\.version)
                    .merging(table.refused.mapValues { _ in "" }) { held, _ in held }
            }
        }
    }

    /// The stream broke. What is held stays.
    package mutating func disconnected() { self.isConnected = false }

    /// A response arrived. After an error the stream must be closed.
    package mutating func received(
        _ response: Envoy_Service_Discovery_V3_DeltaDiscoveryResponse
    ) throws(DiscoveryError) -> Received {
        guard self.isConnected else {
            throw DiscoveryError(.unexpected, "a response arrived before the first request")
        }
        guard let type = ResourceType(typeURL: response.typeURL), var table = self.tables[type] else {
            throw DiscoveryError(
                .unexpected,
                "the control plane sent the type \"\(response.typeURL.prefix(128))\", which nobody asked for")
        }
        guard !response.nonce.isEmpty, response.nonce.utf8.count <= self.limits.nameBytes else {
            throw DiscoveryError(.unexpected, "the control plane sent a response without a usable nonce")
        }
        guard response.resources.count + response.removedResources.count <= self.limits.names else {
            throw DiscoveryError(.limitExceeded, "the control plane sent more than \(self.limits.names) names at once")
        }
        if let revision = response.revision {
            guard revision >= self.revision else {
                throw DiscoveryError(
                    .rolledBack,
                    "the control plane is at revision \(revision) of its store, and this node has seen \(self.revision):"
                        + " it was restored from an older backup, or is another one; what it says is refused until an"
                        + " operator runs 'nodemeshctl accept-restore' there")
            }
            self.revision = revision
        }
        // One change of many resources would copy the table for each of them otherwise.
        self.tables[type] = nil
        var received = Received(
            reply: .init(), type: type, isChanged: type.isRequired && !table.isComplete, refused: [])
        for name in response.removedResources {
            let wasHeld = table.resources.removeValue(forKey: name) != nil
            let wasRefused = table.refused.removeValue(forKey: name) != nil
            received.isChanged = received.isChanged || wasHeld || wasRefused
        }
        var seen: Set<String> = []
        for resource in response.resources {
            if !seen.insert(resource.name).inserted {
                received.refused.append(Refusal(name: resource.name, reason: "stands there twice"))
            } else if let refusal = self.accept(resource, of: type, into: &table) {
                received.refused.append(refusal)
                received.isChanged = received.isChanged || table.refused[resource.name] != nil
            } else {
                received.isChanged = true
            }
        }
        table.isPartial = response.isPartial
        table.isComplete = table.isComplete || !response.isPartial
        self.tables[type] = table
        received.reply = self.reply(to: response, refusing: received.refused)
        return received
    }

    /// - Returns: why the resource was refused; its previous version stays then.
    func accept(
        _ message: Envoy_Service_Discovery_V3_Resource, of type: ResourceType, into table: inout Table
    ) -> Refusal? {
        do throws(ResourceError) {
            try self.take(message, of: type, into: &table)
            return nil
        } catch {
            if type == .authorization, table.resources[message.name] == nil, let stand = Self.standIn(for: message) {
                table.refused[message.name] = stand
            }
            return Refusal(name: message.name, reason: error.description)
        }
    }

    private func take(
        _ message: Envoy_Service_Discovery_V3_Resource, of type: ResourceType, into table: inout Table
    ) throws(ResourceError) {
        guard !message.name.isEmpty, message.name.utf8.count <= self.limits.nameBytes else {
            throw ResourceError(
                "name", "has \(message.name.utf8.count) bytes; 1 to \(self.limits.nameBytes) are allowed")
        }
        guard message.version.utf8.count <= self.limits.nameBytes else {
            throw ResourceError("version", "is longer than \(self.limits.nameBytes) bytes")
        }
        guard message.resource.typeURL == type.typeURL else {
            throw ResourceError("resource", "is of the type \"\(message.resource.typeURL.prefix(128))\"")
        }
        let payload = message.resource.value
        guard payload.count <= self.limits.resourceBytes else {
            throw ResourceError("resource", "has \(payload.count) bytes, more than \(self.limits.resourceBytes)")
        }
        guard table.resources[message.name] != nil || table.resources.count < self.limits.resources else {
            throw ResourceError("resource", "this node already holds \(self.limits.resources) of its type")
        }
        let resource = try MeshResource.decode(
            type, name: message.name, payload: payload, trustDomain: self.trustDomain)
        table.refused.removeValue(forKey: message.name)
        table.resources[message.name] = Held(version: message.version, resource: resource)
    }

    /// What holds in place of a policy that cannot be read: everything it could have denied is denied. A policy that
    /// selects workloads needs none, since a workload that names an unknown policy is denied anyway.
    private static func standIn(for message: Envoy_Service_Discovery_V3_Resource) -> AuthorizationPolicy? {
        guard let id = NamespacedName(message.name), SPIFFEID.isValidSegment(id.namespace) else { return nil }
        let policy = try? Istio_Security_Authorization(serializedBytes: message.resource.value)
        if let policy, policy.dryRun || policy.scope == .workloadSelector { return nil }
        return AuthorizationPolicy(
            id: id, scope: policy?.scope == .global ? .global : .namespace, action: .deny,
            rules: [.init(clauses: [])])
    }

    private func reply(
        to response: Envoy_Service_Discovery_V3_DeltaDiscoveryResponse, refusing refused: [Refusal]
    ) -> Envoy_Service_Discovery_V3_DeltaDiscoveryRequest {
        .with {
            $0.typeURL = response.typeURL
            $0.responseNonce = response.nonce
            guard !refused.isEmpty else { return }
            // 3 is google.rpc.Code.INVALID_ARGUMENT.
            $0.errorDetail.code = 3
            let rest = refused.count > 10 ? "; and \(refused.count - 10) more" : ""
            $0.errorDetail.message = refused.prefix(10).map(\.description).joined(separator: "; ") + rest
        }
    }

    /// Every type that is required was told once, and none is half told now: ``state`` is a whole.
    package var isConsistent: Bool {
        ResourceType.allCases.filter(\.isRequired).allSatisfy {
            self.tables[$0].map { $0.isComplete && !$0.isPartial } ?? false
        }
    }

    /// What is held now.
    package var state: MeshState {
        var state = MeshState()
        for table in self.tables.values {
            for held in table.resources.values {
                switch held.resource {
                case .settings(let value): state.settings = value
                case .node(let value): state.nodes.append(value)
                case .policy(let value): state.policies.append(value)
                case .workload(let value): state.workloads.append(value)
                case .service(let value): state.services.append(value)
                }
            }
            state.policies += table.refused.values
        }
        return state
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import MeshModel
import SwiftProtobuf

/// What a client holds, in the form in which it can be kept on disk and taken in again: responses as a server would send
/// them, so that what is read back passes the same checks.
extension DeltaClient {
    /// In place of a nonce: these resources stand in for policies that could not be read.
    private static let standInMark = "stand-in"

    /// Everything that is held, in responses of limited size. Work in proportion to all of it: not under a lock.
    ///
    /// A resource that would not be sent back to its very bytes, since this program does not know all of its fields,
    /// loses its version: the next stream brings it again.
    package func kept() throws -> [Envoy_Service_Discovery_V3_DeltaDiscoveryResponse] {
        var responses: [Envoy_Service_Discovery_V3_DeltaDiscoveryResponse] = []
        for type in ResourceType.allCases {
            guard let table = self.tables[type] else { continue }
            let held = try table.resources.map { _, held in
                try self.wire(held.resource, of: type, version: held.version)
            }
            responses += self.split(held, of: type, mark: "held")
            let refused = try table.refused.values.map { try self.wire(.policy($0), of: type, version: "") }
            if !refused.isEmpty { responses += self.split(refused, of: type, mark: Self.standInMark) }
        }
        return responses
    }

    private func wire(
        _ resource: MeshResource, of type: ResourceType, version: String
    ) throws -> Envoy_Service_Discovery_V3_Resource {
        let encoded = try resource.encoded(as: type, trustDomain: self.trustDomain)
        return .with {
            $0.name = encoded.name
            $0.version = encoded.version == version ? version : ""
            $0.resource = Google_Protobuf_Any()
            $0.resource.typeURL = type.typeURL
            $0.resource.value = encoded.payload
        }
    }

    /// At least one response, so that an empty type counts as told.
    private func split(
        _ resources: [Envoy_Service_Discovery_V3_Resource], of type: ResourceType, mark: String
    ) -> [Envoy_Service_Discovery_V3_DeltaDiscoveryResponse] {
        var parts: [[Envoy_Service_Discovery_V3_Resource]] = [[]]
        var bytes = 0
        for resource in resources {
            let size = resource.name.utf8.count + resource.resource.value.count + 64
            if bytes > 0, bytes + size > self.limits.responseBytes {
                parts.append([])
                bytes = 0
            }
            bytes += size
            parts[parts.count - 1].append(resource)
        }
        return parts.map { part in
            .with {
                $0.typeURL = type.typeURL
                $0.nonce = mark
                $0.resources = part
            }
        }
    }

    /// Takes in what ``kept()`` gave. A resource that cannot be read any more is left out, and a policy among those
    /// denies all it might have denied, as when it had come over the wire.
    ///
    /// - Parameter revision: the newest of the control plane that this node has seen.
    /// - Returns: what was left out.
    /// - Throws: when it is not a whole; nothing is held then.
    package mutating func restore(
        _ responses: [Envoy_Service_Discovery_V3_DeltaDiscoveryResponse], revision: UInt64
    ) throws(DiscoveryError) -> [Refusal] {
        var tables: [ResourceType: Table] = [:]
        var refused: [Refusal] = []
        for response in responses {
            guard let type = ResourceType(typeURL: response.typeURL) else {
                throw DiscoveryError(.unexpected, "it holds the unknown type \"\(response.typeURL.prefix(128))\"")
            }
            var table = tables[type] ?? Table()
            table.isComplete = true
            tables[type] = nil
            for message in response.resources {
                if response.nonce == Self.standInMark {
                    guard case .policy(let policy)? = try? self.decoded(message, of: type) else {
                        throw DiscoveryError(.unexpected, "a policy's stand-in cannot be read")
                    }
                    table.refused[message.name] = policy
                } else {
                    if let refusal = self.accept(message, of: type, into: &table) { refused.append(refusal) }
                }
            }
            tables[type] = table
        }
        guard ResourceType.allCases.allSatisfy({ !$0.isRequired || tables[$0] != nil }),
            tables[.mesh]?.resources.isEmpty == false
        else {
            throw DiscoveryError(.unexpected, "it does not hold every type")
        }
        self.tables = tables
        self.revision = revision
        return refused
    }

    private func decoded(
        _ message: Envoy_Service_Discovery_V3_Resource, of type: ResourceType
    ) throws(ResourceError) -> MeshResource {
        try MeshResource.decode(
            type, name: message.name, payload: message.resource.value, trustDomain: self.trustDomain)
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAPI
import MeshAdminAPI
import MeshIdentity
import MeshModel
import MeshStore
import Testing

@testable import MeshControl

extension Fixture {
    /// Lets a node join without a connection; returns its name and its store record.
    @discardableResult
    func joined(_ name: String) async throws -> NodeRecord {
        let token = try await self.plane.operators.createJoinToken(.init(node: name)).token
        _ = try await self.plane.nodes.join(try self.joinRequest(name, token: token))
        return try #require(try await self.plane.store.node(name))
    }

    func joinRequest(_ name: String, token: String, key: IdentityKey = IdentityKey()) throws -> Nodemesh_V1_JoinRequest
    {
        var request = Nodemesh_V1_JoinRequest()
        request.token = token
        request.nodeName = name
        let identity = try #require(SPIFFEID("spiffe://mesh.internal/node/\(name)"))
        request.csr = try SigningRequest.make(key: key, identity: identity)
        return request
    }
}

func registration(_ name: String, address: String, account: String = "web") -> Nodemesh_V1_WorkloadRegistration {
    var registration = Nodemesh_V1_WorkloadRegistration()
    registration.namespace = "shop"
    registration.name = name
    registration.serviceAccount = account
    registration.labels = ["app": name]
    registration.addresses = [address]
    return registration
}

func sync(
    _ workloads: [Nodemesh_V1_WorkloadRegistration], generation: UInt64 = 1
) -> Nodemesh_V1_SyncWorkloadsRequest {
    var request = Nodemesh_V1_SyncWorkloadsRequest()
    request.nodeAddresses = ["192.0.2.1"]
    request.tunnelPort = 15008
    request.generation = generation
    request.workloads = workloads
    return request
}

// SPDX-License-Identifier: Apache-2.0

import MeshDiscovery
import MeshModel

extension MeshProjection {
    /// Everything nodes subscribe to, as it stands on the wire.
    package func discoveryResources() throws -> [ResourceType: [DiscoveryResource]] {
        let domain = self.settings.trustDomain
        return [
            .mesh: [try MeshResource.settings(self.settings).encoded()],
            .node: try self.nodes.map { try MeshResource.node($0).encoded() },
            .authorization: try self.policies.map { try MeshResource.policy($0).encoded() },
            .address: try self.workloads.map { try MeshResource.workload($0).encoded(trustDomain: domain) }
                + self.services.map { try MeshResource.service($0).encoded() },
        ]
    }
}

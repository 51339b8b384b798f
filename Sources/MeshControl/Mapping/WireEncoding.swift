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
            // A policy for a dry run goes only to who asks for such: anybody else could enforce it.
            .authorization: try self.policies.filter { !$0.isDryRun }.map { try MeshResource.policy($0).encoded() },
            .dryRun: try self.policies.filter(\.isDryRun).map { try MeshResource.policy($0).encoded() },
            .address: try self.workloads.map { try MeshResource.workload($0).encoded(trustDomain: domain) }
                + self.services.map { try MeshResource.service($0).encoded() },
        ]
    }
}

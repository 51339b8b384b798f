// SPDX-License-Identifier: Apache-2.0

package import MeshModel

/// `nodemesh.io/v1` Workload: a static endpoint that no node registers, or in an enrolment file a workload of the node.
package struct WorkloadResource: Codable, Hashable, Sendable {
    package struct Spec: Codable, Hashable, Sendable {
        @OmittedWhenEmpty package var addresses: [String]
        /// nil: `default`.
        package var serviceAccount: String?
        /// The node that runs it; nil for an endpoint outside the mesh.
        package var node: String?
        /// `none` or `tunnel`; nil: `tunnel` when a node is named, `none` otherwise.
        package var tunnel: TunnelProtocol?
        /// Share in endpoint choice; nil: 1.
        package var weight: UInt32?
        /// Where it is, as `region/zone/subzone`; nil: where its node is.
        package var locality: String?
        /// Enrolment files only.
        package var enrolment: Enrolment?

        package init(
            addresses: [String] = [], serviceAccount: String? = nil, node: String? = nil,
            tunnel: TunnelProtocol? = nil, weight: UInt32? = nil, locality: String? = nil, enrolment: Enrolment? = nil
        ) {
            self.addresses = addresses
            self.serviceAccount = serviceAccount
            self.node = node
            self.tunnel = tunnel
            self.weight = weight
            self.locality = locality
            self.enrolment = enrolment
        }
    }

    package private(set) var apiVersion = ResourceKind.workload.apiVersion
    package private(set) var kind = ResourceKind.workload
    package var metadata: ResourceMetadata
    package var spec: Spec

    package init(metadata: ResourceMetadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
    }

    package var id: NamespacedName { self.metadata.id }

    package var addresses: [IPAddress] { self.spec.addresses.compactMap { IPAddress($0) } }

    package var serviceAccount: String { self.spec.serviceAccount ?? "default" }

    package var tunnel: TunnelProtocol { self.spec.tunnel ?? (self.spec.node == nil ? .none : .tunnel) }

    /// The workload as nodes know it, before the services and policies that select it are filled in.
    package func workload(trustDomain: String) -> Workload {
        Workload(
            id: self.id, addresses: self.addresses, node: self.spec.node ?? "", serviceAccount: self.serviceAccount,
            trustDomain: trustDomain, tunnel: self.tunnel, capacity: self.spec.weight ?? 1,
            canonicalName: self.metadata.labels["app"],
            canonicalRevision: Workload.canonicalRevision(self.metadata.labels),
            locality: self.spec.locality.flatMap { Locality($0) } ?? Locality())
    }
}

extension TunnelProtocol: Codable {}

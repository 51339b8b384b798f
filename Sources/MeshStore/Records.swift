// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshModel
import MeshResources

/// A stored resource.
package struct ResourceRecord: Hashable, Sendable {
    package let key: ResourceKey
    /// Canonical JSON.
    package let json: String
    /// The store's revision at which it last changed.
    package let version: Int64
    /// The store's revision at which it was made.
    package let created: Int64
    /// What the store gave a service (see ``VirtualAddress``), sorted.
    package let addresses: [IPAddress]
}

/// Which virtual addresses a resource wants.
package struct VirtualAddress: Hashable, Sendable {
    /// Named by the operator.
    package var fixed: [IPAddress]
    /// In each of these families the next free one, the same for ever.
    package var automatic: [IPFamily]

    package init(fixed: [IPAddress] = [], automatic: [IPFamily] = []) {
        self.fixed = fixed
        self.automatic = automatic
    }

    /// It is no service, or a headless one.
    package static let none = VirtualAddress()
    /// One of each family.
    package static let automatic = VirtualAddress(automatic: IPFamily.allCases)

    /// These and no others.
    package static func fixed(_ addresses: [IPAddress]) -> Self { VirtualAddress(fixed: addresses) }
}

extension ServiceResource {
    package var virtualAddress: VirtualAddress {
        VirtualAddress(fixed: self.requestedAddresses, automatic: self.assignedFamilies)
    }
}

/// A resource as it is handed to the store.
package struct ResourceChange: Hashable, Sendable {
    package let key: ResourceKey
    /// Canonical JSON: equal content is equal text.
    package let json: String
    package let address: VirtualAddress

    package init(key: ResourceKey, json: String, address: VirtualAddress = .none) {
        self.key = key
        self.json = json
        self.address = address
    }
}

/// What became of one resource.
package enum ResourceOutcome: String, Hashable, Sendable { case created, configured, unchanged, deleted }

/// A node that joined.
package struct NodeRecord: Hashable, Sendable {
    package var name: String
    package var addresses: [IPAddress]
    /// 0 until the node's first registration.
    package var tunnelPort: UInt16
    package var joinedAt: Date
    package var lastSeenAt: Date?
    /// The generation of its last registration; `UInt64.max`: it has to register again.
    package var generation: UInt64
    /// Changes when a node joins again under the same name: certificates of an earlier join are void.
    package var joinID: String
    /// Where its workloads are too.
    package var locality: Locality
    /// `sha256:<hex>` of the roots that the node and its data plane trust, as it said; empty: it has not yet.
    package var trustedRoots: [String]
    /// Of the roots that its certificates lead to, as it said.
    package var issuingRoots: [String]

    package init(
        name: String, addresses: [IPAddress], tunnelPort: UInt16, joinedAt: Date, lastSeenAt: Date?,
        generation: UInt64, joinID: String, locality: Locality = .init(), trustedRoots: [String] = [],
        issuingRoots: [String] = []
    ) {
        self.trustedRoots = trustedRoots
        self.issuingRoots = issuingRoots
        self.name = name
        self.addresses = addresses
        self.tunnelPort = tunnelPort
        self.joinedAt = joinedAt
        self.lastSeenAt = lastSeenAt
        self.generation = generation
        self.joinID = joinID
        self.locality = locality
    }
}

/// A workload that a node runs.
package struct WorkloadRecord: Hashable, Sendable {
    package var id: WorkloadID
    package var node: String
    package var serviceAccount: String
    package var labels: [String: String]
    package var addresses: [IPAddress]
    package var isHostNetwork: Bool
    /// Where it listens, in ascending order; known only of a workload that shares its address.
    package var ports: [UInt16]
    /// Share in endpoint choice.
    package var weight: UInt32

    package init(
        id: WorkloadID, node: String, serviceAccount: String, labels: [String: String], addresses: [IPAddress],
        isHostNetwork: Bool = false, ports: [UInt16] = [], weight: UInt32 = 1
    ) {
        self.id = id
        self.node = node
        self.serviceAccount = serviceAccount
        self.labels = labels
        self.addresses = addresses
        self.isHostNetwork = isHostNetwork
        self.ports = ports
        self.weight = weight
    }
}

/// A join token without its secret.
package struct JoinTokenRecord: Hashable, Sendable {
    package var id: String
    /// The only node that may use it; nil: any.
    package var node: String?
    package var createdAt: Date
    package var expiresAt: Date
    package var usedAt: Date?
    package var usedBy: String?
}

/// An issued certificate.
package struct CertificateRecord: Hashable, Sendable {
    /// Lower-case hex.
    package var serial: String
    package var identity: String
    /// The node that asked for it.
    package var node: String
    package var notBefore: Date
    package var notAfter: Date

    package init(serial: String, identity: String, node: String, notBefore: Date, notAfter: Date) {
        self.serial = serial
        self.identity = identity
        self.node = node
        self.notBefore = notBefore
        self.notAfter = notAfter
    }
}

/// Everything the mapping to what nodes receive depends on, read in one transaction.
package struct StoreSnapshot: Sendable {
    package var revision: Int64
    package var resources: [ResourceRecord]
    package var nodes: [NodeRecord]
    package var workloads: [WorkloadRecord]

    package init(
        revision: Int64, resources: [ResourceRecord], nodes: [NodeRecord], workloads: [WorkloadRecord]
    ) {
        self.revision = revision
        self.resources = resources
        self.nodes = nodes
        self.workloads = workloads
    }
}

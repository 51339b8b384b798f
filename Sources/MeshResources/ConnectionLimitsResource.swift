// SPDX-License-Identifier: Apache-2.0

package import MeshModel

/// `nodemesh.io/v1` ConnectionLimits: how much clients open to a service, or how much of its node a workload may use.
/// Of several that hold for one thing, the strictest of each figure counts.
package struct ConnectionLimitsResource: Codable, Hashable, Sendable {
    /// Either `targetRef` and `destination`, or `workload` with or without a `selector`.
    package struct Spec: Codable, Hashable, Sendable {
        /// A Service in the same namespace.
        package var targetRef: TargetRef?
        package var destination: Destination?
        /// nil: every workload of the namespace or, in the root namespace, of the mesh.
        package var selector: LabelSelector?
        package var workload: Share?

        package init(
            targetRef: TargetRef? = nil, destination: Destination? = nil, selector: LabelSelector? = nil,
            workload: Share? = nil
        ) {
            self.targetRef = targetRef
            self.destination = destination
            self.selector = selector
            self.workload = workload
        }
    }

    package struct TargetRef: Codable, Hashable, Sendable {
        package private(set) var kind = ResourceKind.service
        package var name: String

        package init(name: String) { self.name = name }
    }

    /// What one node opens to the service; see ``MeshModel/DestinationPolicy``.
    package struct Destination: Codable, Hashable, Sendable {
        package var maxConnections: UInt32?
        package var maxPending: UInt32?
        package var connectsPerSecond: UInt32?

        package init(maxConnections: UInt32? = nil, maxPending: UInt32? = nil, connectsPerSecond: UInt32? = nil) {
            self.maxConnections = maxConnections
            self.maxPending = maxPending
            self.connectsPerSecond = connectsPerSecond
        }
    }

    /// What each workload may use of its node; see ``MeshModel/WorkloadLimits``.
    package struct Share: Codable, Hashable, Sendable {
        package var connectionsPerSecond: UInt32?
        package var handshakesPerSecond: UInt32?
        package var maxConnections: UInt32?
        /// See ``Measure/quantity(_:)``.
        package var bytesPerSecond: String?

        package init(
            connectionsPerSecond: UInt32? = nil, handshakesPerSecond: UInt32? = nil, maxConnections: UInt32? = nil,
            bytesPerSecond: String? = nil
        ) {
            self.connectionsPerSecond = connectionsPerSecond
            self.handshakesPerSecond = handshakesPerSecond
            self.maxConnections = maxConnections
            self.bytesPerSecond = bytesPerSecond
        }
    }

    package private(set) var apiVersion = ResourceKind.connectionLimits.apiVersion
    package private(set) var kind = ResourceKind.connectionLimits
    package var metadata: ResourceMetadata
    package var spec: Spec

    package init(metadata: ResourceMetadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
    }

    package var id: NamespacedName { self.metadata.id }

    /// The service that it limits.
    package var service: NamespacedName? {
        self.spec.targetRef.map { NamespacedName(namespace: self.metadata.namespace, name: $0.name) }
    }

    package var policy: DestinationPolicy {
        let figures = self.spec.destination
        return DestinationPolicy(
            maxConnections: figures?.maxConnections, maxPending: figures?.maxPending,
            connectsPerSecond: figures?.connectsPerSecond)
    }

    package var limits: WorkloadLimits {
        let figures = self.spec.workload
        return WorkloadLimits(
            connectionsPerSecond: figures?.connectionsPerSecond, handshakesPerSecond: figures?.handshakesPerSecond,
            maxConnections: figures?.maxConnections,
            bytesPerSecond: figures?.bytesPerSecond.flatMap(Measure.quantity))
    }
}

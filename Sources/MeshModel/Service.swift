// SPDX-License-Identifier: Apache-2.0

/// A service as every node of the mesh knows it.
package struct Service: Hashable, Sendable {
    package var id: NamespacedName
    /// `name.namespace.mesh.internal`.
    package var hostname: String
    /// Virtual addresses; empty for a headless service.
    package var addresses: [IPAddress]
    package var ports: [PortMapping]
    package var loadBalancing: LoadBalancing
    /// nil: no resource says anything about it.
    package var policy: DestinationPolicy?

    package init(
        id: NamespacedName, addresses: [IPAddress], ports: [PortMapping], loadBalancing: LoadBalancing = .init(),
        policy: DestinationPolicy? = nil
    ) {
        self.id = id
        self.hostname = "\(id.name).\(id.namespace).mesh.internal"
        self.addresses = addresses
        self.ports = ports
        self.loadBalancing = loadBalancing
        self.policy = policy
    }
}

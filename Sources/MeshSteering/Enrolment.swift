// SPDX-License-Identifier: Apache-2.0

import MeshLinux
import MeshModel

/// A workload as the kernel side sees it.
package struct Enrolment: Sendable {
    /// The daemon's number for the workload, returned by ``Steering/originalDestination(of:)``.
    package var key: UInt32
    /// The workload's name, for messages only.
    package var id: String
    /// Its cgroup's directory.
    package var cgroupPath: String
    /// The network namespace its sockets live in.
    package var namespace: NetworkNamespace
    /// The addresses it has there, at most 16: never captured (when shared: unless another workload listens there). The
    /// first of each family is the source of captured connects; without one the kernel chooses a loopback address.
    package var addresses: [IPAddress]
    /// Whether others live in its namespace: only ports it listens on are steered then, see ``Steering/setPort(_:of:_:)``.
    package var isShared = false
    /// The namespace's listening sockets for inbound connections, if they exist already; see
    /// ``Steering/setInboundListeners(_:_:)``.
    package var inboundListeners: [CInt]
    /// Nil: what the node does, see ``Steering/setFailMode(_:)``.
    package var failMode: SteeringConfiguration.FailMode?
    /// Destinations it reaches without the proxy.
    package var excludedPrefixes: [IPPrefix] = []
    /// The same by destination port.
    package var excludedOutboundPorts: [UInt16] = []
    /// Its own ports that others reach without the proxy.
    package var excludedInboundPorts: [UInt16] = []
    /// Whether `SO_ORIGINAL_DST` is answered, which makes every `getsockopt` of the workload slower.
    package var answersOriginalDestination = false
    /// Whether nodemeshd answers what it asks of any resolver, see ``Steering/setResolvers(_:ipv4:ipv6:)``.
    package var hasNamesAnswered = false
    /// Whether its direct connections may join a socket map with another such workload's.
    package var isAccelerated = false
    /// Whether a cgroup above it carries the guard, see ``Steering/setGuard(cgroupPath:)``.
    package var isGuarded = false

    package init(
        key: UInt32, id: String, cgroupPath: String, namespace: NetworkNamespace, addresses: [IPAddress],
        inboundListeners: [CInt] = []
    ) {
        self.key = key
        self.id = id
        self.cgroupPath = cgroupPath
        self.namespace = namespace
        self.addresses = addresses
        self.inboundListeners = inboundListeners
    }

    var hasOutboundExclusions: Bool { !self.excludedPrefixes.isEmpty || !self.excludedOutboundPorts.isEmpty }
}

// SPDX-License-Identifier: Apache-2.0
import CMeshABI
import MeshModel

/// Where connects of a workload to one address may go without the proxy.
package struct DirectVerdict: Hashable, Sendable {
    /// A server on this node.
    package struct Target: Hashable, Sendable {
        package let key: UInt32
        package let address: SocketAddress
        /// Of the server's network namespace.
        package let namespaceCookie: UInt64
        /// In parts of ``DirectVerdict/shares``.
        package let share: UInt32
        /// Its ends may join the socket map.
        package let isAccelerated: Bool

        package init(
            key: UInt32, address: SocketAddress, namespaceCookie: UInt64, share: UInt32, isAccelerated: Bool = false
        ) {
            self.key = key
            self.address = address
            self.namespaceCookie = namespaceCookie
            self.share = share
            self.isAccelerated = isAccelerated
        }
    }

    /// All shares together; what targets leave of it goes to the proxy.
    package static let shares: UInt32 = 65_536
    /// A destination with more targets stays on the proxy.
    package static let maxTargets = Int(NM_TARGETS)

    /// Counts as long as it is that of ``Steering/setDirectPath(isOn:generation:)``.
    package let generation: UInt32
    package let targets: [Target]

    package init(generation: UInt32, targets: [Target]) {
        self.generation = generation
        self.targets = targets
    }
}

/// A connection that reaches its server without the proxy in between.
package struct DirectFlow: Sendable {
    package let client: SocketAddress
    package let server: SocketAddress
    package let dialled: SocketAddress
    package let clientNamespace: UInt64
    package let serverNamespace: UInt64
    /// The workloads' keys; 0 if unknown.
    package let source: UInt32
    package let target: UInt32
    /// Of the verdict that allowed it.
    package let generation: UInt32
    /// False: let through for another reason, such as a health probe.
    package let isVerdict: Bool
    package let isEstablished: Bool
    /// Both ends are in the socket map.
    package let isAccelerated: Bool
    /// A reader left more than the cap allows.
    package let isStalled: Bool
    /// Bytes from the client and from the server that went through the socket map, which TCP does not count.
    package let redirected: (sent: UInt64, received: UInt64)
    /// Nanoseconds of the monotonic clock.
    package let openedAt: UInt64
    /// Of the client's socket, see `DiagnosedSocket.cookie`.
    package let cookie: UInt64
}

/// Where packets to a workload may be handed to without passing the host's network stack.
package struct LocalAddress: Hashable, Sendable {
    package let namespaceCookie: UInt64
    package let key: UInt32
    /// The host's end of its veth.
    package let interface: UInt32
    /// Hardware addresses of the veth's ends, six bytes each.
    package let insideMAC: [UInt8]
    package let hostMAC: [UInt8]

    package init(
        namespaceCookie: UInt64, key: UInt32, interface: UInt32, insideMAC: [UInt8], hostMAC: [UInt8]
    ) {
        self.namespaceCookie = namespaceCookie
        self.key = key
        self.interface = interface
        self.insideMAC = insideMAC
        self.hostMAC = hostMAC
    }
}

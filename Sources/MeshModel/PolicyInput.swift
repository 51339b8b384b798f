// SPDX-License-Identifier: Apache-2.0

/// What policies are asked about: one connection as its destination's node sees it.
package struct PolicyInput: Hashable, Sendable {
    /// Proved by the tunnel or by the capture; nil: plaintext from outside the mesh.
    package var sourceIdentity: SPIFFEID?
    package var sourceIP: IPAddress
    /// The destination workload's address and the port its application listens on.
    package var destination: SocketAddress

    package init(sourceIdentity: SPIFFEID?, sourceIP: IPAddress, destination: SocketAddress) {
        self.sourceIdentity = sourceIdentity
        self.sourceIP = sourceIP
        self.destination = destination
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Which side of a connection this node sees.
package enum ConnectionDirection: String, Sendable, Hashable { case outbound, inbound }

/// How a connection's bytes travel past this node.
package enum Wire: String, Sendable, Hashable {
    /// Plain TCP to or from outside the mesh.
    case plaintext
    /// To a workload of the same node, without leaving it.
    case local
    /// To a workload of the same node, past the proxy: plain TCP between the two.
    case direct
    /// A mutual-TLS tunnel of one connection.
    case splice
}

/// What moves a connection's bytes on this node, where there is a choice: what seals and opens a tunnel's records, or what
/// stands in for TCP between two workloads of the node.
package enum TunnelEngine: String, Sendable, Hashable {
    /// In this process.
    case user
    /// Kernel TLS, with splice where pipes allow it.
    case kernel
    /// A socket map, between two ends of a direct connection.
    case sockmap
}

/// Everything telemetry says about one connection. It is filled in as facts become known and handed out when the
/// connection opens and when it closes.
package struct ConnectionRecord: Sendable, Hashable {
    /// Unique on this node since it started.
    package var id: UInt64
    package var direction: ConnectionDirection
    package var source: WorkloadID?
    package var sourceAddress: SocketAddress
    package var sourceIdentity: SPIFFEID?
    /// What the client dialled.
    package var destination: SocketAddress
    package var service: NamespacedName?
    package var destinationWorkload: WorkloadID?
    package var destinationIdentity: SPIFFEID?
    /// Where this node sends the bytes.
    package var upstream: SocketAddress?
    package var wire: Wire
    /// nil: no choice, or not decided yet.
    package var engine: TunnelEngine?
    /// The policy that decided, where one did.
    package var policy: NamespacedName?
    /// Position in it of the rule that did, from 0.
    package var policyRule: Int?
    /// What the policies said when the connection was made; nil: this node did not ask them.
    package var policyReason: PolicyDecision.Reason?
    /// What dry-run policies said then.
    package var dryRun: [PolicyDecision.DryRun] = []
    /// From the client to the server.
    package var bytesSent: UInt64 = 0
    /// From the server to the client.
    package var bytesReceived: UInt64 = 0
    /// Nanoseconds since the Unix epoch.
    package var openedAt: UInt64
    /// Nanoseconds.
    package var duration: UInt64 = 0
    package var reason: CloseReason?
    /// What an operator should read beside the reason: a peer's message, an errno's name.
    package var detail: String?
    /// The W3C trace-context header of the tunnel, the same on both nodes.
    package var trace: TraceContext?
    /// How long the steps of making it took.
    package var phases = ConnectionPhases()
    /// How its way to the peer node, or to the server, was when it was last looked at; nil: not yet.
    package var tcp: TCPHealth?

    package init(
        id: UInt64, direction: ConnectionDirection, sourceAddress: SocketAddress, destination: SocketAddress,
        wire: Wire = .plaintext, openedAt: UInt64
    ) {
        self.id = id
        self.direction = direction
        self.sourceAddress = sourceAddress
        self.destination = destination
        self.wire = wire
        self.openedAt = openedAt
    }
    /// Takes down what policies said of it.
    package mutating func note(_ decision: PolicyDecision) {
        self.policy = decision.policy
        self.policyRule = decision.rule
        self.policyReason = decision.reason
        self.dryRun = decision.dryRun
    }

    /// The dry-run policies that would have turned an allowed connection away, or let a denied one in.
    package var dryRunChanges: [PolicyDecision.DryRun] {
        guard let reason = self.policyReason else { return [] }
        return self.dryRun.filter { $0.wouldAllow != reason.isAllowed }
    }
}

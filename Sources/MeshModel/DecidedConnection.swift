// SPDX-License-Identifier: Apache-2.0

/// What policies were asked about connections, and what they answered: connections that are alike in this are counted
/// together.
package struct DecidedConnection: Hashable, Sendable {
    /// nil: not known, as of plaintext from outside the mesh.
    package var source: WorkloadID?
    /// nil: plaintext from outside the mesh.
    package var sourceIdentity: SPIFFEID?
    package var sourceIP: IPAddress
    package var workload: WorkloadID
    /// The workload's address and the port its application listens on.
    package var destination: SocketAddress
    package var isDenied: Bool

    package init(
        source: WorkloadID?, sourceIdentity: SPIFFEID?, sourceIP: IPAddress, workload: WorkloadID,
        destination: SocketAddress, isDenied: Bool
    ) {
        self.source = source
        self.sourceIdentity = sourceIdentity
        self.sourceIP = sourceIP
        self.workload = workload
        self.destination = destination
        self.isDenied = isDenied
    }

    /// nil when this node did not ask its policies about the connection.
    package init?(_ record: ConnectionRecord) {
        guard let reason = record.policyReason, let workload = record.destinationWorkload,
            let destination = record.upstream
        else { return nil }
        self.init(
            source: record.source, sourceIdentity: record.sourceIdentity, sourceIP: record.sourceAddress.ip,
            workload: workload, destination: destination, isDenied: !reason.isAllowed)
    }

    /// The question, to be asked of other policies.
    package var input: PolicyInput {
        PolicyInput(sourceIdentity: self.sourceIdentity, sourceIP: self.sourceIP, destination: self.destination)
    }
}

/// How many there were, and when.
package struct DecidedTally: Hashable, Sendable {
    package var count: UInt64
    /// Seconds since the Unix epoch.
    package var first: Int64
    package var last: Int64

    package init(count: UInt64, first: Int64, last: Int64) {
        self.count = count
        self.first = first
        self.last = last
    }

    package mutating func add(_ other: DecidedTally) {
        self.count &+= other.count
        self.first = min(self.first, other.first)
        self.last = max(self.last, other.last)
    }
}

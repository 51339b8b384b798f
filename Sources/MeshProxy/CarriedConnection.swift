// SPDX-License-Identifier: Apache-2.0
import MeshModel
import MeshTunnel

/// A connection on its way from one data plane to the next.
///
/// `@unchecked`: it belongs to one thread at a time: the one that froze or read it, then the loop that adopts it.
final class CarriedConnection: @unchecked Sendable {
    /// How far it is; what is further is not tried again.
    enum Stage: UInt8 {
        /// A capture listener accepted it, and nothing has left this node: it begins anew.
        case captured = 1
        /// The tunnel listener accepted it and has not answered: its TLS handshake begins anew with the bytes in `head`.
        case securing = 2
        /// A peer's tunnel whose CONNECT, as far as it is in `head`, has reached no server.
        case waiting = 3
        /// The CONNECT went out with the client's first bytes; of the answer `head` is here.
        case asking = 4
        case relaying = 5
        /// A tunnel that this node dialled, without a connection.
        case pooled = 6
    }

    let stage: Stage
    let origin: SetupStateMachine.Origin
    var record: ConnectionRecord
    /// The workload of this node.
    var workload: WorkloadID?
    /// It counts among that workload's connections.
    var countsForWorkload = false
    /// The other workload of this node among whose connections it counts.
    var other: WorkloadID?
    /// The endpoint of `record.service` that it goes to.
    var endpoint: Endpoint?
    /// Where a tunnel that this node dialled leads.
    var destination: Destination?
    var policyInput: PolicyInput?
    var policyWorkload: WorkloadID?
    var client = CarriedSide()
    var server = CarriedSide()
    var session: TunnelSession?
    var kernel: KernelTunnel?
    /// The inode of the namespace whose capture listener accepted it; 0: none did.
    var namespace: UInt64 = 0
    var head: [UInt8] = []
    /// Bytes that still wait in the client's socket and travelled with the CONNECT.
    var earlyCount = 0
    /// Telemetry does not see it: a tunnel without a connection.
    var isQuiet = false
    var isHalfClosed = false
    /// Of a relay that is kept in case the process dies; nil: the process gave it away itself.
    var balance: RelayBalance?
    /// Nanoseconds since bytes moved last, and until its present deadline.
    var quietFor: UInt64 = 0
    var deadlineLeft: UInt64 = 0

    struct Endpoint: Equatable {
        var workload: WorkloadID
        var address: SocketAddress
    }

    /// A ``TunnelDestination``'s key without its certificate, which is named by its fingerprint.
    struct Destination: Equatable {
        var source: WorkloadID
        var destination: WorkloadID
        var address: SocketAddress
        var expected: SPIFFEID
        var identity: [UInt8]
    }

    init(_ stage: Stage, origin: SetupStateMachine.Origin, record: ConnectionRecord) {
        self.stage = stage
        self.origin = origin
        self.record = record
    }

    deinit {
        self.client.close()
        self.server.close()
    }
}

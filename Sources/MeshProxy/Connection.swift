// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshModel
import MeshTunnel

/// What a loop knows about one connection beside its two ``Side``s.
final class Connection {
    /// Of the client's side; the server's is the next.
    let index: UInt32
    var machine: SetupStateMachine
    var record: ConnectionRecord
    /// The workload of this node: the client's for a captured outbound connection, else the server's. nil: not known
    /// yet.
    var workload: LocalWorkload?
    /// Of the side that is a tunnel, once its handshake is done.
    var session: TunnelSession?
    /// Where a tunnel that this node dialled leads.
    var destination: TunnelDestination?
    /// Of a tunnel that was handed to the kernel; the session is gone then.
    var kernel: KernelTunnel?
    /// Gone once bytes are relayed.
    var setup: Setup?
    /// What was asked of the policies of `policyWorkload`, to be asked again when they change.
    var policyInput: PolicyInput?
    var policyWorkload: WorkloadID?

    /// When it was accepted, or its CONNECT came (nanoseconds of the monotonic clock): what phases are measured from.
    var began: UInt64
    /// Segments that its tunnel had sent, and sent again, before this connection.
    var tcpBase: (sent: UInt32, retransmitted: UInt32) = (0, 0)
    /// What it holds of limits and counts.
    var traffic = ConnectionTraffic()

    /// What was between its sockets when it was first kept for the case that this process dies; nil: it is not.
    var balance: RelayBalance?
    /// How often that could not be found out.
    var keepAttempts: UInt8 = 0

    /// What another data plane knew of it and waits here for its workload, its certificate or the first view.
    var adopted: CarriedConnection?

    /// Nanoseconds of the monotonic clock; 0: none.
    var deadline: UInt64 = 0
    /// When a flow wants to be pumped again without an event (nanoseconds of the monotonic clock); 0: never.
    var pollAt: UInt64 = 0
    /// When bytes last moved.
    var activity: UInt64
    /// Waits in the loop's ready list.
    var isReady = false
    /// A tunnel without a connection: telemetry does not see it.
    var isQuiet = false
    /// A peer's tunnel of whose next CONNECT nothing is here.
    var isAwaitingFirstByte = false
    /// Counted in its destination as a tunnel that is being made in advance.
    var isBeingMade = false
    /// Stands in the loop's list of those that wait for a certificate.
    var isParked = false
    /// One direction has ended.
    var isHalfClosed = false

    init(index: UInt32, machine: SetupStateMachine, record: ConnectionRecord, workload: LocalWorkload?, now: UInt64) {
        self.index = index
        self.machine = machine
        self.record = record
        self.workload = workload
        self.activity = now
        self.began = Clock.monotonic
        self.setup = Setup()
    }

    var server: UInt32 { self.index + 1 }

    /// What is needed only until bytes are relayed.
    final class Setup {
        var handshake: PendingHandshake?
        var request = ConnectRequestParser()
        var response = ConnectResponseParser()
        /// Where the server's side is to connect, and from which namespace.
        var target: Target?
        /// The peer node's request.
        var requested: ConnectRequest?
        /// Endpoints that failed already.
        var tried: Set<WorkloadID> = []
        /// What the peer node says of itself; nil: it is not of our own making, or has not said yet.
        var peerCapabilities: TunnelCapabilities?
        /// Why the last attempt failed.
        var lastFailure: (reason: CloseReason, detail: String?)?
        /// Bytes that still wait in the client's socket and travelled with the CONNECT.
        var earlyCount = 0
        /// The inode of the namespace whose capture listener accepted it; 0: none did.
        var namespace: UInt64 = 0
        /// The interface of a link-local destination, else 0.
        var scope: UInt32 = 0
        /// The client of a connection steered to the inbound listener, where it is a workload of the same namespace.
        var source: LocalWorkload?
        /// Nanoseconds of the monotonic clock until which it waits for a certificate; 0: it never had to.
        var parkedUntil: UInt64 = 0
        /// When it began to wait for a certificate, when the present decision where it goes began, and the handshake
        /// (nanoseconds of the monotonic clock); 0: it does not.
        var parkedSince: UInt64 = 0
        var resolveBegan: UInt64 = 0
        var handshakeBegan: UInt64 = 0
        /// The tunnel stood ready.
        var isReused = false
        /// This attempt's tunnel broke off before it could deliver anything: the other node's daemon may just have been
        /// replaced, and then the next attempt goes well.
        var isCut = false
        /// One that stood ready has failed it.
        var mustDialAnew = false
        /// When this attempt began, or its CONNECT went out (nanoseconds of the monotonic clock).
        var attemptBegan: UInt64 = 0
        /// Nanoseconds for connect(2), where the service's policy says so.
        var connectTimeout: UInt64?
        /// The service's.
        var policy: DestinationPolicy?
        /// The attempt goes to the endpoint's address of the other family than the dialled one's.
        var isOtherFamily = false
        /// Our half of a refusal is sent.
        var isRefusalSent = false
    }

    /// Where and how to connect.
    struct Target {
        var address: SocketAddress
        /// The interface of a link-local address, else 0.
        var scope: UInt32 = 0
        /// Whose namespace the socket is made in; nil: the process's own.
        var from: LocalWorkload?
        /// The address that the server's application is to see.
        var markedClient: SocketAddress?
        var tunnel: Tunnel?

        struct Tunnel {
            var identity: TLSIdentity
            var serverName: String
            var expected: SPIFFEID
            var destination: TunnelDestination
            var request: ConnectRequest
        }
    }
}

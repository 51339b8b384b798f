// SPDX-License-Identifier: Apache-2.0
import MeshModel
import MeshTunnel

/// A workload of another node as one local workload reaches it, with what a loop keeps for the next connection there: a
/// session to resume and tunnels that stand ready. Confined to one loop.
final class TunnelDestination {
    struct Key: Hashable {
        var source: WorkloadID
        var destination: WorkloadID
        var address: SocketAddress
        /// Of the certificate that the source shows; ``TunnelDestination/identity`` keeps the object alive.
        var identity: ObjectIdentifier
        var expected: SPIFFEID
    }

    let key: Key
    let identity: TLSIdentity
    var session: ResumableSession?
    /// Tunnels without a connection, the one used last at the end.
    var idle: [Connection] = []
    /// Tunnels that are being made in advance.
    var beingMade = 0
    /// Connections that asked for it.
    var uses = 0
    /// Nanoseconds of the monotonic clock.
    var lastUse: UInt64

    init(key: Key, identity: TLSIdentity, now: UInt64) {
        self.key = key
        self.identity = identity
        self.lastUse = now
    }

    /// The session to resume, if it is still good.
    ///
    /// - Parameter now: seconds since the Unix epoch.
    func dropSession(unlessGoodAt now: Int64) {
        if let session = self.session, session.notAfter <= now { self.session = nil }
    }
}

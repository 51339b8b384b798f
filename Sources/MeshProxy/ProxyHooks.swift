// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// What the proxy asks of, and tells, the rest of the daemon. Called on loop threads: must be quick and never block.
package struct ProxyHooks: Sendable {
    /// Where the client of this captured, accepted socket wanted to go, and the key of its workload; nil when the kernel
    /// has no record of it.
    package var originalDestination: @Sendable (_ socket: CInt) -> (address: SocketAddress, workload: UInt32)?
    /// For which workload's application a socket was steered to an inbound listener, and the key of the client's if that
    /// is a workload of the same namespace. nil: the kernel has no record of it, so it is for the namespace's only
    /// workload, if there is only one.
    package var inboundOrigin: @Sendable (_ socket: CInt) -> (workload: UInt32, source: UInt32?)?
    /// The key of the workload that listens on a port of a namespace that several share; nil: none does. Without this
    /// hook the view's word counts.
    package var portOwner: (@Sendable (_ namespaceCookie: UInt64, _ port: UInt16) -> UInt32?)?
    /// Servers that connections of a workload to a service's address reach past the proxy: those that come to it anyway
    /// are the share of the others. Without this hook there are none.
    package var directServers: (@Sendable (_ workload: UInt32, _ destination: SocketAddress) -> Set<WorkloadID>)?
    /// Where the client of a socket accepted by an inbound listener wanted to go; nil, the usual case: the socket's own
    /// address says it.
    package var inboundDestination: (@Sendable (_ socket: CInt) -> SocketAddress?)?
    /// Called on a socket to an application before it connects: the application is to see `client` as its peer. False:
    /// it would see an address of its own, which it may trust, so the connection is not made.
    package var markUpstream: @Sendable (_ socket: CInt, _ client: SocketAddress) -> Bool
    /// The connection reached its server. Its byte counts are still zero.
    package var onOpened: @Sendable (ConnectionRecord) -> Void
    /// The connection was taken over from another data plane and goes on; called instead of ``onOpened``.
    package var onAdopted: @Sendable (ConnectionRecord) -> Void = { _ in }
    /// The connection ended or never began; called exactly once for each, with its reason.
    package var onClosed: @Sendable (ConnectionRecord) -> Void

    package init(
        originalDestination: @escaping @Sendable (_ socket: CInt) -> (address: SocketAddress, workload: UInt32)?,
        inboundOrigin: @escaping @Sendable (_ socket: CInt) -> (workload: UInt32, source: UInt32?)? = { _ in nil },
        markUpstream: @escaping @Sendable (_ socket: CInt, _ client: SocketAddress) -> Bool = { _, _ in true },
        onOpened: @escaping @Sendable (ConnectionRecord) -> Void = { _ in },
        onClosed: @escaping @Sendable (ConnectionRecord) -> Void = { _ in }
    ) {
        self.originalDestination = originalDestination
        self.inboundOrigin = inboundOrigin
        self.markUpstream = markUpstream
        self.onOpened = onOpened
        self.onClosed = onClosed
    }
}

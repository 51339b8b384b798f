// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshModel

/// What a ``NameServer`` needs to know at its start.
package struct NameServerConfiguration: Sendable {
    /// Where it answers on loopback of each namespace: UDP at each, TCP at the first.
    package var ports: [UInt16]
    package var resolver = NameResolver.Settings()
    /// Clients' TCP connections, in all.
    package var maximumStreams = 1_024
    /// The mesh's own domain, and those that it shares with others.
    package var domain: DNSName
    package var aliases: [DNSName]
    /// Seconds, of the mesh's own names.
    package var timeToLive: UInt32

    package init(ports: [UInt16], domain: DNSName, aliases: [DNSName], timeToLive: UInt32) {
        self.ports = ports
        self.domain = domain
        self.aliases = aliases
        self.timeToLive = timeToLive
    }
}

/// What a ``NameServer`` asks others and tells them. All are called on its thread and must not block.
package struct NameServerHooks: Sendable {
    /// Whom somebody meant to ask, and the workload's number.
    package typealias Origin = (resolver: SocketAddress, workload: UInt32)

    /// Of a datagram: the cookie of its namespace, its source port, the index of the port it came to, its family.
    package var datagramOrigin: @Sendable (_ cookie: UInt64, _ port: UInt16, _ place: Int, _ isIPv4: Bool) -> Origin?
    /// Of an accepted connection.
    package var streamOrigin: @Sendable (CInt) -> Origin?
    /// The node's own resolvers, as they are now; asked at most once a second.
    package var nodeResolvers: @Sendable () -> [Upstream]
    /// A query was answered, after so many nanoseconds.
    package var onAnswer: @Sendable (QueryReport, UInt64) -> Void
    package var onAttempt: @Sendable (_ isStream: Bool) -> Void
    package var onFailure: @Sendable (Upstream, UpstreamFailure) -> Void

    package init(
        datagramOrigin: @escaping @Sendable (UInt64, UInt16, Int, Bool) -> Origin?,
        streamOrigin: @escaping @Sendable (CInt) -> Origin?, nodeResolvers: @escaping @Sendable () -> [Upstream],
        onAnswer: @escaping @Sendable (QueryReport, UInt64) -> Void,
        onAttempt: @escaping @Sendable (Bool) -> Void,
        onFailure: @escaping @Sendable (Upstream, UpstreamFailure) -> Void
    ) {
        self.datagramOrigin = datagramOrigin
        self.streamOrigin = streamOrigin
        self.nodeResolvers = nodeResolvers
        self.onAnswer = onAnswer
        self.onAttempt = onAttempt
        self.onFailure = onFailure
    }
}

/// What a ``NameServer`` has at the moment.
package struct NameServerStatus: Sendable, Hashable {
    package var namespaces = 0
    package var cacheEntries = 0
    package var cacheBytes = 0
    package var waiting = 0
    package var streams = 0
    /// The node's own resolvers.
    package var upstreams: [Upstream] = []
    /// Resolvers that do not answer.
    package var down: [Upstream] = []

    package init() {}
}

/// How a name was looked up for an operator.
package struct NameLookup: Sendable {
    /// The answer as a client would get it.
    package var message: [UInt8]
    package var report: QueryReport
    package var duration: UInt64
}

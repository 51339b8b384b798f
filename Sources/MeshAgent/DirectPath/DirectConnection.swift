// SPDX-License-Identifier: Apache-2.0

import MeshLinux
import MeshModel
import MeshSteering

/// What the kernel says of a direct connection while it lives, or when it ends.
package struct DirectConnection: Hashable, Sendable {
    /// What tells it from all others.
    package struct ID: Hashable, Sendable {
        var client: SocketAddress
        var server: SocketAddress
        var serverNamespace: UInt64
        var cookie: UInt64
    }

    var id: ID
    var dialled: SocketAddress
    /// Keys of the workloads.
    var source: UInt32
    var target: UInt32
    /// Cookie of the client's network namespace, where it is known.
    var clientNamespace: UInt64?
    /// Nanoseconds since the Unix epoch.
    var openedAt: UInt64

    init(_ flow: DirectFlow) {
        self.id = ID(
            client: flow.client, server: flow.server, serverNamespace: flow.serverNamespace, cookie: flow.cookie)
        self.dialled = flow.dialled
        self.source = flow.source
        self.target = flow.target
        self.clientNamespace = flow.clientNamespace
        let (wall, monotonic) = (Clock.wall, Clock.monotonic)
        self.openedAt = wall - min(wall, monotonic - min(monotonic, flow.openedAt))
    }

    /// nil for an event of another kind.
    init?(_ event: SteeringEvent) {
        guard let client = event.source, let server = event.upstream, let dialled = event.destination else {
            return nil
        }
        self.id = ID(client: client, server: server, serverNamespace: event.netns, cookie: event.cookie)
        self.dialled = dialled
        self.source = event.workloadKey
        self.target = event.targetKey
        self.openedAt = event.time - min(event.time, event.duration)
    }
}

/// How a direct connection ended.
package struct DirectEnding: Hashable, Sendable {
    package var end: SteeringEvent.Close
    package var bytesSent: UInt64
    package var bytesReceived: UInt64
    /// Nanoseconds.
    package var duration: UInt64
    /// Both ends were in the socket map.
    package var isAccelerated = false

    package init(end: SteeringEvent.Close, bytesSent: UInt64, bytesReceived: UInt64, duration: UInt64) {
        self.end = end
        self.bytesSent = bytesSent
        self.bytesReceived = bytesReceived
        self.duration = duration
    }

    init(_ event: SteeringEvent) {
        self.init(
            end: event.close, bytesSent: event.bytesSent, bytesReceived: event.bytesReceived, duration: event.duration)
        self.isAccelerated = event.reason == .sockmapJoined
    }

    /// The words of the access log.
    ///
    /// - Parameter wasOpen: it had been established.
    func words(wasOpen: Bool) -> (reason: CloseReason, detail: String?) {
        switch self.end {
        case .none, .client, .server: (.completed, nil)
        case .clientReset: (.clientReset, nil)
        case .refused: (.connectRefused, "the server's host refused the connection")
        case .serverReset: (.serverReset, nil)
        case .timedOut where wasOpen: (.serverReset, "the server's host does not answer any more")
        case .timedOut: (.connectTimeout, "the server's host does not answer")
        case .destroyed: (.clientReset, "ended from outside")
        }
    }
}

extension DiagnosedSocket.End {
    init(_ address: SocketAddress) {
        self.init(high: address.ip.high, low: address.ip.low, port: address.port)
    }
}

extension SocketAddress {
    init(_ end: DiagnosedSocket.End) {
        self.init(ip: IPAddress(high: end.high, low: end.low), port: end.port)
    }
}

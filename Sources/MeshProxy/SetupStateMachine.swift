// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// How a connection comes to be, from accept to its first relayed byte.
///
///     tunnel:    securingClient → awaitingRequest ┐
///     captured:  ──────────────────────────────→ resolving ⇄ awaitingIdentity
///                                                     ↓
///                       relaying ←───────────────── dialing
///                           ↑                          ↓ (to another node)
///                     awaitingAnswer ←────────── securingServer
///                           ↑                          ↓ (made in advance)
///                        dialing ← (takes one) ←──── pooled
///
/// A failure on the way to the server goes back to `resolving` while attempts are left; any other end is `refusing`
/// (the peer node is told why) or `closed`. It owns no socket, clock or logger: each event returns what its caller must
/// do.
struct SetupStateMachine {
    enum Origin: Equatable {
        case capturedOutbound, capturedInbound, tunnel
        /// No connection yet: a tunnel that stands ready for one, or is being made for that.
        case pool
    }

    enum State: Equatable {
        case securingClient
        case awaitingRequest
        case resolving
        /// Where to return once the certificate is there.
        case awaitingIdentity(isServerHandshake: Bool)
        case dialing
        case securingServer
        case awaitingAnswer
        /// A tunnel without a connection.
        case pooled
        case relaying
        case refusing(CloseReason)
        case closed(CloseReason)
    }

    enum Action: Equatable {
        case none
        /// Decide where the connection goes, then report `resolved` or `failed`.
        case resolve
        /// Ask again for the certificate, in the handshake with the client.
        case resumeHandshake
        case connect
        /// Begin the handshake with the server's node.
        case secure
        /// Send the CONNECT.
        case sendRequest
        /// Keep the tunnel for a connection to come.
        case pool
        /// Answer 200 if the client is a peer node, then relay.
        case relay
        /// Answer the peer node with this refusal, then close in order.
        case refuse(CloseReason)
        /// Close at once, with resets.
        case close(CloseReason)
    }

    private(set) var state: State
    let origin: Origin
    private var attemptsLeft: Int
    /// Bytes of the client have left this node: what fails now may have been delivered, and is not tried again.
    private(set) var hasSentData = false

    init(origin: Origin, extraAttempts: Int) {
        self.origin = origin
        self.attemptsLeft = max(0, extraAttempts)
        self.state = origin == .tunnel ? .securingClient : .resolving
    }

    /// For a tunnel that a connection has left in good order: on the node that dialled it (`pool`) or on the other one.
    init(recycledFor origin: Origin) {
        self.origin = origin
        self.attemptsLeft = 0
        self.state = origin == .tunnel ? .awaitingRequest : .pooled
    }

    /// For a connection that another data plane has carried to this point.
    init(adopting stage: CarriedConnection.Stage, origin: Origin, extraAttempts: Int, hasSentData: Bool) {
        self.origin = origin
        self.attemptsLeft = max(0, extraAttempts)
        self.hasSentData = hasSentData
        self.state =
            switch stage {
            case .captured: .resolving
            case .securing: .securingClient
            case .waiting: .awaitingRequest
            case .asking: .awaitingAnswer
            case .relaying: .relaying
            case .pooled: .pooled
            }
    }

    /// The certificate of the local workload is missing.
    mutating func identityMissing() -> Action {
        switch self.state {
        case .securingClient: self.state = .awaitingIdentity(isServerHandshake: true)
        case .resolving: self.state = .awaitingIdentity(isServerHandshake: false)
        case .awaitingRequest, .awaitingIdentity, .dialing, .securingServer, .awaitingAnswer, .pooled, .relaying,
            .refusing, .closed:
            break
        }
        return .none
    }

    /// The loop has a new view: what was missing may be there.
    mutating func viewChanged() -> Action {
        switch self.state {
        case .awaitingIdentity(let isServerHandshake):
            self.state = isServerHandshake ? .securingClient : .resolving
            return isServerHandshake ? .resumeHandshake : .resolve
        case .securingClient, .awaitingRequest, .resolving, .dialing, .securingServer, .awaitingAnswer, .pooled,
            .relaying, .refusing, .closed:
            return .none
        }
    }

    /// A handshake ended well.
    mutating func secured() -> Action {
        switch self.state {
        case .securingClient:
            self.state = .awaitingRequest
            return .none
        case .securingServer:
            self.state = self.origin == .pool ? .pooled : .awaitingAnswer
            return self.origin == .pool ? .pool : .sendRequest
        case .awaitingRequest, .resolving, .awaitingIdentity, .dialing, .awaitingAnswer, .pooled, .relaying, .refusing,
            .closed:
            return .none
        }
    }

    /// The peer node's CONNECT is here.
    mutating func requested() -> Action {
        switch self.state {
        case .awaitingRequest:
            self.state = .resolving
            return .resolve
        case .securingClient, .resolving, .awaitingIdentity, .dialing, .securingServer, .awaitingAnswer, .pooled,
            .relaying, .refusing, .closed:
            return .none
        }
    }

    /// It is known, and allowed, where to go.
    mutating func resolved() -> Action {
        switch self.state {
        case .resolving:
            self.state = .dialing
            return .connect
        case .securingClient, .awaitingRequest, .awaitingIdentity, .dialing, .securingServer, .awaitingAnswer,
            .pooled, .relaying, .refusing, .closed:
            return .none
        }
    }

    /// connect(2) succeeded.
    mutating func connected(isTunnel: Bool) -> Action {
        switch self.state {
        case .dialing:
            self.state = isTunnel ? .securingServer : .relaying
            return isTunnel ? .secure : .relay
        case .securingClient, .awaitingRequest, .resolving, .awaitingIdentity, .securingServer, .awaitingAnswer,
            .pooled, .relaying, .refusing, .closed:
            return .none
        }
    }

    /// Instead of dialling it takes a tunnel that stands ready.
    mutating func reused() -> Action {
        guard case .dialing = self.state else { return .none }
        self.state = .awaitingAnswer
        return .sendRequest
    }

    /// The tunnel that stood ready had ended before the CONNECT was read: nothing was delivered, and a new one does it.
    mutating func wentStale() -> Action {
        guard case .awaitingAnswer = self.state else { return .none }
        self.hasSentData = false
        self.state = .dialing
        return .connect
    }

    /// Client bytes went out with the CONNECT.
    mutating func sentData() { self.hasSentData = true }

    /// The server's node said 200.
    mutating func accepted() -> Action {
        switch self.state {
        case .awaitingAnswer:
            self.state = .relaying
            return .relay
        case .securingClient, .awaitingRequest, .resolving, .awaitingIdentity, .dialing, .securingServer, .pooled,
            .relaying, .refusing, .closed:
            return .none
        }
    }

    /// Something on the way failed.
    ///
    /// - Parameter isRetryable: another endpoint may do better, and this one has certainly delivered nothing.
    mutating func failed(_ reason: CloseReason, isRetryable: Bool) -> Action {
        switch self.state {
        case .dialing, .securingServer, .awaitingAnswer:
            if isRetryable, self.origin == .capturedOutbound, self.attemptsLeft > 0 {
                self.attemptsLeft -= 1
                self.hasSentData = false
                self.state = .resolving
                return .resolve
            }
            return self.end(reason)
        case .awaitingRequest, .resolving, .awaitingIdentity(isServerHandshake: false):
            return self.end(reason)
        case .securingClient, .awaitingIdentity(isServerHandshake: true), .pooled, .relaying, .refusing:
            self.state = .closed(reason)
            return .close(reason)
        case .closed:
            return .none
        }
    }

    /// The state's time is over.
    mutating func timedOut() -> Action {
        switch self.state {
        case .securingClient, .securingServer: return self.failed(.tlsFailed, isRetryable: true)
        case .awaitingRequest: return self.failed(.protocolError, isRetryable: false)
        case .awaitingIdentity: return self.failed(.identityUnavailable, isRetryable: false)
        case .dialing: return self.failed(.connectTimeout, isRetryable: true)
        case .resolving, .awaitingAnswer: return self.failed(.connectTimeout, isRetryable: false)
        case .pooled, .relaying: return self.failed(.idleTimeout, isRetryable: false)
        case .refusing(let reason):
            self.state = .closed(reason)
            return .close(reason)
        case .closed: return .none
        }
    }

    /// The accepting node has no use for an idle tunnel any more: the peer is told before the socket goes.
    mutating func retired() -> Action {
        guard case .awaitingRequest = self.state else { return .none }
        self.state = .refusing(.idleTimeout)
        return .refuse(.idleTimeout)
    }

    /// A refusal was sent and the peer has read it or gone.
    mutating func refusalDone() -> Action {
        switch self.state {
        case .refusing(let reason):
            self.state = .closed(reason)
            return .close(reason)
        case .securingClient, .awaitingRequest, .resolving, .awaitingIdentity, .dialing, .securingServer,
            .awaitingAnswer, .pooled, .relaying, .closed:
            return .none
        }
    }

    /// The connection ends, whatever its state.
    mutating func ended(_ reason: CloseReason) -> Action {
        switch self.state {
        case .closed:
            return .none
        case .refusing(let reason):
            self.state = .closed(reason)
            return .close(reason)
        case .securingClient, .awaitingRequest, .resolving, .awaitingIdentity, .dialing, .securingServer,
            .awaitingAnswer, .pooled, .relaying:
            self.state = .closed(reason)
            return .close(reason)
        }
    }

    /// A peer node that has asked is told; everybody else is reset.
    private mutating func end(_ reason: CloseReason) -> Action {
        if self.origin == .tunnel {
            self.state = .refusing(reason)
            return .refuse(reason)
        }
        self.state = .closed(reason)
        return .close(reason)
    }
}

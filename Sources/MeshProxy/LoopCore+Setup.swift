// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshTunnel

/// Carrying out what ``SetupStateMachine`` decides.
extension LoopCore {
    func perform(_ action: SetupStateMachine.Action, _ connection: Connection) {
        switch action {
        case .none: return
        case .resolve: self.resolve(connection)
        case .resumeHandshake: self.resumeHandshake(connection)
        case .connect: self.connect(connection)
        case .secure: self.beginClientHandshake(connection)
        case .sendRequest: self.sendRequest(connection)
        case .pool: self.pool(connection)
        case .relay: self.beginRelay(connection)
        case .refuse(let reason): self.refuse(connection, reason)
        case .close(let reason): self.finish(connection, reason)
        }
    }

    /// Something happened at a side of a connection that does not relay yet.
    func continueSetup(_ connection: Connection, _ index: UInt32) {
        let client = self.sides[connection.index]
        if client.pointee.flags.contains(.failed) {
            // Who is being refused may break off; why he is refused is what counts.
            if case .refusing = connection.machine.state {
                self.continueRefusal(connection)
                return
            }
            connection.record.detail = SystemError.text(of: Linux.socketError(client.pointee.fd))
            self.close(connection, self.reason(forFailureOf: connection.index))
            return
        }
        switch connection.machine.state {
        case .securingClient: if index == connection.index { self.continueHandshake(connection) }
        case .awaitingRequest: self.readRequest(connection)
        case .dialing: if index == connection.server { self.checkConnect(connection) }
        case .securingServer: if index == connection.server { self.continueHandshake(connection) }
        case .pooled: self.pooledEvent(connection)
        case .awaitingAnswer: if index == connection.server { self.readAnswer(connection) }
        case .refusing: self.continueRefusal(connection)
        case .resolving, .awaitingIdentity, .relaying, .closed: return
        }
    }

    func timedOut(_ connection: Connection) {
        if connection.isQuiet, connection.machine.state == .pooled || connection.isAwaitingFirstByte {
            connection.isAwaitingFirstByte = false
            self.tunnelTired(connection)
            return
        }
        let text: String? =
            switch connection.machine.state {
            case .securingClient, .securingServer: "the TLS handshake took too long"
            case .awaitingRequest: "the peer node sent no CONNECT in time"
            case .dialing: "no answer from \(connection.setup?.target.map { "\($0.address)" } ?? "the server")"
            case .awaitingAnswer: "the peer node did not answer the CONNECT in time"
            case .awaitingIdentity, .resolving, .pooled, .relaying, .refusing, .closed: connection.record.detail
            }
        connection.record.detail = text
        self.noteFailure(connection, .connectTimeout)
        self.perform(self.retrying(connection) { $0.timedOut() }, connection)
    }

    // MARK: - Connecting

    private func connect(_ connection: Connection) {
        guard let target = connection.setup?.target else { return }
        let endpoint = Endpoint(target.address, scope: target.scope)
        connection.destination = target.tunnel?.destination
        connection.setup?.isCut = false
        if let tunnel = target.tunnel, connection.machine.origin != .pool, connection.setup?.mustDialAnew == false,
            self.takeTunnel(connection, tunnel.destination)
        {
            return
        }
        let index = connection.server
        self.noteConnecting(connection)
        do throws(SystemError) {
            try self.enterNamespace(target.from?.namespace)
            let socket = try Linux.tcpSocket(endpoint.family)
            try Linux.setNoDelay(socket.raw)
            Linux.resetOnClose(socket.raw)
            try self.configuration.setKeepAlive(socket.raw)
            if let client = target.markedClient, !self.settings.hooks.markUpstream(socket.raw, client) {
                self.attemptFailed(
                    connection, .resourceExhausted,
                    "the kernel has no room to show the application its client's address",
                    isRetryable: false)
                return
            }
            let result = try Linux.connect(socket.raw, to: endpoint)
            let side = self.sides[index]
            side.pointee.fd = socket.release()
            side.pointee.flags = target.tunnel == nil ? [] : [.tunnel]
            try self.watch(index)
            if case .done = result {
                side.pointee.flags.formUnion([.readable, .writable])
                self.noteConnected(connection)
                self.perform(connection.machine.connected(isTunnel: target.tunnel != nil), connection)
                return
            }
            side.pointee.flags.insert(.connecting)
        } catch {
            self.attemptFailed(connection, Self.reason(connectError: error.errno), error.description)
            return
        }
        self.setDeadline(
            connection,
            after: connection.setup?.connectTimeout ?? self.configuration.connectTimeout.nanoseconds)
    }

    private func checkConnect(_ connection: Connection) {
        let side = self.sides[connection.server]
        guard side.pointee.flags.contains(.connecting),
            !side.pointee.flags.isDisjoint(with: [.writable, .failed, .hangUp])
        else { return }
        let code = Linux.socketError(side.pointee.fd)
        if code != 0 {
            let target = connection.setup?.target.map { " \($0.address)" } ?? ""
            self.attemptFailed(
                connection, Self.reason(connectError: code), "connect\(target): \(SystemError.text(of: code))")
            return
        }
        side.pointee.flags.subtract([.connecting, .failed])
        side.pointee.flags.formUnion([.readable, .writable])
        self.noteConnected(connection)
        self.perform(
            connection.machine.connected(isTunnel: connection.setup?.target?.tunnel != nil), connection)
    }

    private static func reason(connectError code: CInt) -> CloseReason {
        switch code {
        case ECONNREFUSED, ECONNRESET: .connectRefused
        case ETIMEDOUT: .connectTimeout
        case EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL: .resourceExhausted
        default: .connectFailed
        }
    }

    /// Moves the loop's thread to where a socket is to be made.
    private func enterNamespace(_ namespace: NetworkNamespace?) throws(SystemError) {
        if let namespace {
            self.isElsewhere = true
            try namespace.enter()
        } else if self.isElsewhere {
            try self.settings.hostNamespace.enter()
        }
    }

    // MARK: - Failing

    /// This endpoint did not work; another may.
    func attemptFailed(_ connection: Connection, _ reason: CloseReason, _ detail: String, isRetryable: Bool = true) {
        connection.record.detail = detail
        self.noteFailure(connection, reason)
        self.perform(self.retrying(connection) { $0.failed(reason, isRetryable: isRetryable) }, connection)
    }

    private func noteFailure(_ connection: Connection, _ reason: CloseReason) {
        if self.triesOtherFamily(connection, reason) {
            connection.setup?.lastFailure = (reason, connection.record.detail)
            return
        }
        self.noteAttemptFailed(connection, reason)
        connection.setup?.lastFailure = (reason, connection.record.detail)
        if let workload = connection.record.destinationWorkload { connection.setup?.tried.insert(workload) }
    }

    /// Tells the machine of a failure and, if it tries again, takes down what belonged to this attempt.
    private func retrying(
        _ connection: Connection, _ event: (inout SetupStateMachine) -> SetupStateMachine.Action
    ) -> SetupStateMachine.Action {
        let action = event(&connection.machine)
        guard case .resolve = action else { return action }
        self.takeDown(connection)
        // A connection that was routed by address has no other endpoint.
        if connection.record.service == nil, let last = connection.setup?.lastFailure,
            !self.triesSameAgain(connection)
        {
            return connection.machine.failed(last.reason, isRetryable: false)
        }
        return action
    }

    /// Takes down what belonged to an attempt.
    func takeDown(_ connection: Connection) {
        self.closeSide(connection.server, isOrderly: false)
        self.giveBack(connection.index)
        connection.session = nil
        connection.destination = nil
        connection.tcpBase = (0, 0)
        connection.setup?.handshake = nil
        connection.setup?.response = ConnectResponseParser()
        connection.setup?.earlyCount = 0
        connection.setup?.isReused = false
        connection.deadline = 0
    }

    // MARK: - Beginning to relay

    private func beginRelay(_ connection: Connection) {
        let early = connection.setup?.earlyCount ?? 0
        if connection.machine.origin == .tunnel {
            do throws(TunnelError) {
                let capabilities = TunnelCapabilities(
                    reuse: connection.session?.isReusable == true, fixedKeys: self.settings.engine.hasFixedKeys)
                let isOurs = connection.setup?.requested?.capabilities != nil
                try self.seal(
                    ConnectResponse.accepted(isOurs ? capabilities : nil).encoded, connection, toward: connection.index)
            } catch {
                connection.record.detail = error.message
                self.close(connection, error.closeReason)
                return
            }
        }
        // What travelled with the CONNECT still waits in the client's socket.
        guard self.discardEarly(early, connection) else { return }
        self.sides[connection.index].pointee.bytes += UInt64(early)
        let target = connection.setup?.target
        self.noteEstablished(connection)
        self.noteRelaying(connection, early: early)
        if !self.takeEngine(connection) { return }
        connection.setup = nil
        connection.deadline = 0
        connection.record.detail = nil
        connection.activity = self.now
        self.settings.hooks.onOpened(connection.record)
        if let idle = self.quietLimit(connection) { self.setDeadline(connection, after: idle) }
        self.relay(connection)
        if let target, let destination = target.tunnel?.destination { self.replenish(destination, like: target) }
    }

    /// Takes bytes that the server has already out of the client's socket. What could not be taken would be sent twice,
    /// so that ends the connection; false then.
    private func discardEarly(_ count: Int, _ connection: Connection) -> Bool {
        var left = count
        while left > 0 {
            do throws(SystemError) {
                if case .done(let taken) = try Linux.discard(self.sides[connection.index].pointee.fd, left), taken > 0 {
                    left -= taken
                    continue
                }
                connection.record.detail = "bytes that the client had sent are gone from its socket"
                self.close(connection, self.reason(forFailureOf: connection.index))
            } catch {
                connection.record.detail = error.description
                self.close(connection, self.reason(forFailureOf: connection.index, error))
            }
            return false
        }
        return true
    }
}

extension ProxyConfiguration {
    /// Sets keepalive and TCP_USER_TIMEOUT on a socket.
    func setKeepAlive(_ fd: CInt) throws(SystemError) {
        try Linux.setKeepAlive(
            fd, idle: CInt(clamping: max(1, self.keepAliveIdle.components.seconds)),
            interval: CInt(clamping: max(1, self.keepAliveInterval.components.seconds)),
            count: CInt(clamping: max(1, self.keepAliveProbes)),
            timeout: CInt(clamping: self.userTimeout.nanoseconds / 1_000_000))
    }
}

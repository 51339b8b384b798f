// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import MeshTunnel
import Synchronization

/// Going on with the connections of another data plane. Established ones move bytes at once; what still has to ask
/// something of a workload, a policy or a certificate waits until that is here, unwatched, so that nothing happens to it.
extension LoopCore {
    func adopt(_ carried: CarriedConnection) {
        self.settings.connectionCount.add(1, ordering: .relaxed)
        let connection = self.makeConnection(
            machine: SetupStateMachine(
                adopting: carried.stage, origin: carried.origin,
                extraAttempts: self.configuration.extraAttempts, hasSentData: carried.earlyCount > 0),
            record: carried.record, workload: nil)
        connection.adopted = carried
        connection.session = carried.session
        connection.kernel = carried.kernel
        carried.session = nil
        carried.kernel = nil
        connection.policyInput = carried.policyInput
        connection.policyWorkload = carried.policyWorkload
        connection.isHalfClosed = carried.isHalfClosed
        connection.setup?.namespace = carried.namespace
        if carried.isQuiet { self.quiet(connection) }
        self.adoptSide(connection.index, &carried.client, connection)
        self.adoptSide(connection.server, &carried.server, connection)
        for workload in [carried.workload, carried.other] {
            if let workload { self.adoption.unclaimed[workload, default: []].append(connection) }
        }
        if carried.endpoint != nil || carried.destination != nil { self.adoption.unviewed.append(connection) }
        switch carried.stage {
        case .captured: self.adoption.captured[carried.namespace, default: []].append(connection)
        case .securing:
            let pending = PendingHandshake(.accepting(self.settings.acceptor))
            pending.input = carried.head
            connection.setup?.handshake = pending
            self.adoption.securing.append(connection)
        case .waiting, .pooled: break
        case .asking: self.goOnAsking(connection, carried)
        case .relaying: self.goOnRelaying(connection, carried)
        }
    }

    private func adoptSide(_ index: UInt32, _ carried: inout CarriedSide, _ connection: Connection) {
        let side = self.sides[index]
        side.pointee.fd = carried.descriptor
        carried.descriptor = -1
        side.pointee.flags = carried.flags
        // Edges that were told are not told again; asking a socket for nothing costs one call.
        if side.pointee.fd >= 0 { side.pointee.flags.formUnion([.readable, .writable]) }
        if self.settings.engine.engine != .kernel { side.pointee.flags.remove(.exactReads) }
        side.pointee.bytes = carried.bytes
        let total = carried.sendable.count + carried.opened.count + carried.tail.count
        if total > 0 {
            let block = self.blocks.take(holding: total)
            Self.copy(carried.sendable, to: block.pointee.base)
            block.pointee.end = carried.sendable.count
            let opened = block.pointee.base + carried.sendable.count
            Self.copy(carried.opened, to: opened)
            if !carried.opened.isEmpty {
                block.pointee.vector[0] = iovec(iov_base: opened, iov_len: carried.opened.count)
                block.pointee.rangeCount = 1
            }
            block.pointee.tailStart = carried.sendable.count + carried.opened.count
            block.pointee.tailEnd = total
            Self.copy(carried.tail, to: block.pointee.base + block.pointee.tailStart)
            side.pointee.block = block
        }
        (carried.sendable, carried.opened, carried.tail) = ([], [], [])
        if let pipe = carried.pipe.take() {
            let place = self.pipes.adopt(
                read: pipe.read, write: pipe.write, capacity: Linux.pipeCapacity(pipe.write),
                for: self.pipeHolder(index))
            side.pointee.pipe = place
            side.pointee.bytesInPipe = pipe.count
            if side.pointee.flags.contains(.tunnel), let kernel = connection.kernel {
                kernel.room = PipeRoom(slots: self.pipes[place].slots, used: kernel.room.used)
            }
        }
    }

    /// Begins to watch what a connection has. One that cannot be watched is closed.
    ///
    /// - Returns: whether the connection lives.
    private func watchAll(_ connection: Connection) -> Bool {
        if case .closed = connection.machine.state { return false }
        do throws(SystemError) {
            for index in [connection.index, connection.server] where self.sides[index].pointee.fd >= 0 {
                try self.watch(index)
            }
            return true
        } catch {
            connection.record.detail = error.description
            self.close(connection, .resourceExhausted)
            return false
        }
    }

    private func goOnRelaying(_ connection: Connection, _ carried: CarriedConnection) {
        connection.setup = nil
        connection.activity = self.now - min(self.now, carried.quietFor)
        guard self.watchAll(connection) else { return }
        if let limit = self.quietLimit(connection) {
            self.setDeadline(connection, after: limit - min(limit, carried.quietFor))
        }
        self.settings.hooks.onAdopted(self.present(connection))
        self.makeReady(connection)
    }

    private func goOnAsking(_ connection: Connection, _ carried: CarriedConnection) {
        guard self.watchAll(connection), let setup = connection.setup else { return }
        setup.earlyCount = carried.earlyCount
        setup.attemptBegan = self.now
        _ = carried.head.withUnsafeBytes { bytes in try? setup.response.read(bytes) }
        self.setDeadline(connection, after: max(1, carried.deadlineLeft))
        self.readAnswer(connection)
    }

    // MARK: - Waiting

    /// A workload was attached: what was its own before is so again.
    func claim(_ workload: LocalWorkload) {
        for connection in self.adoption.unclaimed.removeValue(forKey: workload.id) ?? [] {
            guard let carried = connection.adopted else { continue }
            if case .closed = connection.machine.state { continue }
            if carried.other == workload.id, carried.workload != workload.id {
                workload.usage.readmit()
                connection.traffic.destinationUsage = workload.usage
                carried.other = nil
                Self.forgetIfDone(connection)
            }
            if carried.workload == workload.id { self.claim(connection, carried, for: workload) }
            if case .relaying = connection.machine.state { self.updateMetering(connection) }
        }
    }

    private func claim(_ connection: Connection, _ carried: CarriedConnection, for workload: LocalWorkload) {
        connection.workload = workload
        carried.workload = nil
        if carried.countsForWorkload {
            workload.usage.readmit()
            connection.traffic.usage = workload.usage
            connection.traffic.owner = workload.slot
        }
        switch carried.stage {
        case .waiting: self.goOnWaiting(connection, carried)
        case .pooled, .asking, .relaying: self.bind(connection)
        case .captured, .securing: break
        }
    }

    /// A peer's tunnel: reads its CONNECT, or goes on with the one that is here.
    private func goOnWaiting(_ connection: Connection, _ carried: CarriedConnection) {
        connection.adopted = nil
        guard self.watchAll(connection), let setup = connection.setup, let session = connection.session else { return }
        let timeout = self.configuration.handshakeTimeout.nanoseconds
        self.setDeadline(connection, after: carried.deadlineLeft == 0 ? timeout : carried.deadlineLeft)
        connection.isAwaitingFirstByte = carried.isQuiet
        do throws(TunnelError) {
            let head = carried.head.withUnsafeBytes { bytes in
                Result { () throws(TunnelError) in try setup.request.read(bytes).request }
            }
            let request = try head.get()
            if let request {
                self.requestIsHere(connection, setup, session, request)
            } else {
                self.makeReady(connection)
            }
        } catch {
            self.fail(connection, error.closeReason, error.message)
        }
    }

    /// The listeners of a namespace are open again, with all its workloads: what waited there begins.
    func beginCaptured(in inode: UInt64) {
        for connection in self.adoption.captured.removeValue(forKey: inode) ?? [] where self.watchAll(connection) {
            connection.adopted = nil
            self.perform(.resolve, connection)
        }
    }

    /// All workloads are known: handshakes that name one can begin.
    func beginSecuring() {
        let waiting = self.adoption.securing
        self.adoption.securing = []
        for connection in waiting where self.watchAll(connection) {
            connection.adopted = nil
            let side = self.sides[connection.index]
            side.pointee.flags.insert(.tunnel)
            if !side.pointee.flags.contains(.exactReads) { self.prepareKernel(connection.index) }
            self.setDeadline(connection, after: self.configuration.handshakeTimeout.nanoseconds)
            if connection.setup?.handshake?.input.isEmpty == false {
                self.resumeHandshake(connection)
            } else {
                self.continueHandshake(connection)
            }
        }
    }

    // MARK: - Views

    /// A new view is here: the endpoints and the certificates that connections use may be in it.
    func viewArrived() {
        let waiting = self.adoption.unviewed
        for connection in waiting { self.bind(connection) }
        self.adoption.unviewed.removeAll { $0.adopted == nil }
    }

    /// Finds what a connection uses in the view, as far as it is there and its workload is attached.
    private func bind(_ connection: Connection) {
        guard let carried = connection.adopted else { return }
        if case .closed = connection.machine.state {
            connection.adopted = nil
            return
        }
        defer { Self.forgetIfDone(connection) }
        guard let view = self.view else { return }
        if let endpoint = carried.endpoint.take() { self.rejoin(connection, endpoint, view) }
        if let destination = carried.destination, connection.workload != nil,
            let identity = view.identities[destination.source]
        {
            // Another certificate or trust bundle: what was agreed under the old one is not used again.
            let isSame = identity.sessionContext == destination.identity
            carried.destination = nil
            if isSame {
                let found = self.tunnelDestination(
                    from: destination.source, as: identity, to: destination.destination, at: destination.address,
                    expecting: destination.expected)
                connection.destination = found
                if carried.stage == .pooled, self.watchAll(connection) {
                    self.keep(connection, found)
                    self.setDeadline(connection, after: max(1, carried.deadlineLeft))
                    self.pooledEvent(connection)
                }
            } else if carried.stage == .pooled {
                self.tunnelTired(connection)
            }
        }
    }

    private static func forgetIfDone(_ connection: Connection) {
        guard let carried = connection.adopted, carried.endpoint == nil, carried.destination == nil,
            carried.workload == nil, carried.other == nil
        else { return }
        connection.adopted = nil
    }

    /// Counts a connection among those of its service and endpoint again.
    private func rejoin(_ connection: Connection, _ endpoint: CarriedConnection.Endpoint, _ view: ProxyView) {
        guard connection.traffic.endpoint == nil else { return }
        // Only to look: nothing is chosen.
        _ = view.snapshot.resolve(connection.record.destination) { set in
            guard
                let index = set.endpoints.firstIndex(where: {
                    $0.workload.id == endpoint.workload && $0.address == endpoint.address
                })
            else { return nil }
            let state = self.bound(set).endpoints[index]
            state.began()
            state.service.breaker.readmit()
            connection.traffic.endpoint = state
            connection.traffic.service = state.service
            connection.traffic.isObserved = set.endpoints.count > 1
            return nil
        }
    }

    // MARK: - The end of it

    /// Closes what nobody has claimed.
    ///
    /// - Returns: what was closed.
    func completeAdoption() -> HandOverSummary {
        var summary = HandOverSummary()
        let (unclaimed, captured, unviewed) = (
            self.adoption.unclaimed, self.adoption.captured, self.adoption.unviewed
        )
        self.beginSecuring()
        self.adoption = LoopAdoption()
        for connection in Array(unclaimed.values.joined()) + Array(captured.values.joined()) {
            if case .closed = connection.machine.state { continue }
            if connection.isQuiet {
                self.close(connection, .completed)
                continue
            }
            let why = "its workload was not enrolled again after the daemon was replaced"
            summary.close(why)
            connection.record.detail = why
            self.close(connection, .workloadGone)
        }
        for connection in unviewed {
            if case .closed = connection.machine.state { continue }
            // Without its certificate a tunnel carries nothing further.
            if case .pooled = connection.machine.state, connection.destination == nil { self.tunnelTired(connection) }
            connection.adopted = nil
        }
        return summary
    }
}

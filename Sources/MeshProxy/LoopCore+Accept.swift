// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux
import MeshModel
import Synchronization

extension LoopCore {
    /// Takes some of the connections that wait at a listener.
    func accept(_ listener: Listener) {
        for _ in 0..<64 {
            do throws(SystemError) {
                guard case .done(let accepted) = try Linux.accept(listener.descriptor.raw) else { return }
                self.accepted(accepted, at: listener)
            } catch {
                switch error.errno {
                case EMFILE, ENFILE:
                    self.refuseOne(listener)
                    return
                case ENOMEM, ENOBUFS: return
                // The connection broke before it was accepted; see accept(2).
                default: continue
                }
            }
        }
    }

    private func accepted(_ accepted: Linux.Accepted, at listener: Listener) {
        self.statistics.accepted += 1
        let origin: SetupStateMachine.Origin
        let namespace: UInt64
        switch listener.kind {
        case .outbound(let inode): (origin, namespace) = (.capturedOutbound, inode)
        case .inbound(let inode): (origin, namespace) = (.capturedInbound, inode)
        case .tunnel: (origin, namespace) = (.tunnel, 0)
        }
        let peer = SocketAddress(accepted.peer)
        var record = ConnectionRecord(
            id: self.settings.nextID(), direction: origin == .capturedOutbound ? .outbound : .inbound,
            sourceAddress: peer, destination: listener.address, wire: origin == .tunnel ? .splice : .plaintext,
            openedAt: Clock.wall)

        let live = self.settings.connectionCount.add(1, ordering: .relaxed).newValue
        if live > self.maxConnections {
            self.settings.connectionCount.subtract(1, ordering: .relaxed)
            self.statistics.refusedByLimit += 1
            Linux.reset(accepted.raw)
            self.noteOnlyWorkload(listener, &record)
            record.reason = .resourceExhausted
            record.detail = "\(self.maxConnections) connections are open, which is this node's limit"
            self.settings.hooks.onClosed(record)
            return
        }

        let connection = self.makeConnection(
            machine: SetupStateMachine(origin: origin, extraAttempts: self.configuration.extraAttempts),
            record: record, workload: nil)
        connection.setup?.namespace = namespace
        let index = connection.index
        let client = self.sides[index]
        client.pointee.fd = accepted.raw
        client.pointee.flags = [.readable, .writable]
        do throws(SystemError) {
            try self.watch(index)
        } catch {
            connection.record.detail = error.description
            self.close(connection, .resourceExhausted)
            return
        }
        switch origin {
        case .tunnel:
            client.pointee.flags.insert(.tunnel)
            self.prepareKernel(index)
            self.beginServerHandshake(connection)
        case .capturedOutbound, .capturedInbound, .pool:
            self.perform(.resolve, connection)
        }
    }

    /// Takes a pair of sides for a connection. The caller has counted it.
    func makeConnection(
        machine: SetupStateMachine, record: ConnectionRecord, workload: LocalWorkload?
    ) -> Connection {
        let index = self.sides.take()
        let connection = Connection(index: index, machine: machine, record: record, workload: workload, now: self.now)
        for side in [index, index + 1] { self.sides[side].pointee.connection = Unmanaged.passRetained(connection) }
        return connection
    }

    /// No descriptor is left: lends the spare one to a connection, so that its client learns of it at once instead of
    /// waiting for ever.
    private func refuseOne(_ listener: Listener) {
        if self.spare >= 0 { Linux.close(self.spare) }
        self.spare = -1
        if case .done(let accepted)? = try? Linux.accept(listener.descriptor.raw) {
            self.statistics.refusedByLimit += 1
            Linux.reset(accepted.raw)
            var record = ConnectionRecord(
                id: self.settings.nextID(), direction: .inbound, sourceAddress: SocketAddress(accepted.peer),
                destination: listener.address, openedAt: Clock.wall)
            switch listener.kind {
            case .outbound: record.direction = .outbound
            case .inbound: break
            case .tunnel: record.wire = .splice
            }
            self.noteOnlyWorkload(listener, &record)
            record.reason = .resourceExhausted
            record.detail = "no file descriptors are left; raise LimitNOFILE"
            self.settings.hooks.onClosed(record)
        }
        if let socket = try? Linux.tcpSocket() { self.spare = socket.release() }
    }

    /// Names the workload of a connection that is refused before anybody asks whose it is, where there is only one.
    private func noteOnlyWorkload(_ listener: Listener, _ record: inout ConnectionRecord) {
        switch listener.kind {
        case .outbound(let inode): record.source = self.onlyWorkload(in: inode)?.id
        case .inbound(let inode): record.destinationWorkload = self.onlyWorkload(in: inode)?.id
        case .tunnel: break
        }
    }
}

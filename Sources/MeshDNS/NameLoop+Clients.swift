// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshModel

// Queries come in and answers go out.
extension NameLoop {
    /// Datagrams of one socket taken in one turn.
    private static let batch = 32

    func receive(_ socket: NameSocket, inode: UInt64, token: UInt64, now: UInt64) {
        guard let space = self.spaces[inode] else { return }
        for _ in 0..<Self.batch {
            guard case .done(let datagram) = try? Linux.receiveFrom(socket.raw, into: &self.buffer) else { return }
            let origin = self.hooks.datagramOrigin(space.cookie, datagram.sender.port, socket.place, socket.isIPv4)
            self.ask(
                Array(self.buffer[..<datagram.count]), from: .datagram(socket: token, peer: datagram.sender),
                by: Self.asker(origin, in: space), now: now)
        }
    }

    /// Whom it meant, from where it meant it.
    private static func asker(_ origin: NameServerHooks.Origin?, in space: NameListeners) -> Asker {
        guard let origin else { return Asker(workload: 0, resolver: nil) }
        var address = origin.resolver.ip
        // What a connect takes for the host itself.
        if address.isUnspecified {
            address = address.isIPv4 ? IPAddress(ipv4: 0x7f00_0001) : IPAddress(high: 0, low: 1)
        }
        if !address.isIPv4, address.isLinkLocal { return Asker(workload: origin.workload, resolver: nil) }
        return Asker(
            workload: origin.workload,
            resolver: Upstream(address: address, port: origin.resolver.port, namespace: space.namespace?.inode))
    }

    // MARK: TCP

    func accept(_ socket: NameSocket, inode: UInt64, token: UInt64, now: UInt64) {
        guard let space = self.spaces[inode] else { return }
        do throws(SystemError) {
            while case .done(let accepted) = try Linux.accept(socket.raw) {
                let holder = SocketHolder(FileDescriptor(owning: accepted.raw))
                guard self.streamCount < self.configuration.maximumStreams else { continue }
                let asker = Self.asker(self.hooks.streamOrigin(accepted.raw), in: space)
                let client = Client(holder, asker: asker, inode: inode, now: now)
                try self.watch(accepted.raw, .client(client))
                self.streamCount += 1
            }
        } catch {
            // No descriptor is left: it would say so again at once.
            try? self.epoll.remove(socket.raw)
            self.paused.append(token)
        }
    }

    /// Goes on with a connection of the server before.
    func adopt(_ carried: CarriedNames.Client, in space: NameListeners, inode: UInt64) {
        guard self.streamCount < self.configuration.maximumStreams else { return }
        let asker = Self.asker(self.hooks.streamOrigin(carried.holder.raw), in: space)
        let client = Client(carried.holder, asker: asker, inode: inode, input: carried.input, now: Clock.monotonic)
        guard (try? self.watch(carried.holder.raw, .client(client))) != nil else { return }
        self.streamCount += 1
    }

    func serve(_ client: Client, token: UInt64, _ events: Epoll.Events, now: UInt64) {
        if events.contains(.error) || events.contains(.hangUp) { return self.drop(client, token: token) }
        if events.contains(.readable), client.stream.wantsInput {
            do throws(SystemError) {
                switch try Linux.receive(client.holder.raw, into: &self.buffer) {
                case .done(0): client.stream.inputEnded()
                case .done(let count):
                    for message in client.stream.received(self.buffer[..<count], now: now) {
                        self.ask(message, of: client, token: token, now: now)
                    }
                case .wouldBlock: break
                }
            } catch {
                return self.drop(client, token: token)
            }
        }
        self.flush(client, token: token, now: now)
    }

    private func ask(_ message: [UInt8], of client: Client, token: UInt64, now: UInt64) {
        client.stream.asked()
        let isQuestion = MessageReader(message).map { !$0.flags.contains(.response) } ?? false
        // What is none is not answered, and nobody waits for it.
        guard isQuestion else { return client.stream.dropped() }
        self.ask(message, from: .stream(token), by: client.asker, now: now)
    }

    /// Sends what there is, closes what is done, and says what is waited for.
    func flush(_ client: Client, token: UInt64, now: UInt64) {
        guard case .client = self.watched[token] else { return }
        let raw = client.holder.raw
        do throws(SystemError) {
            while !client.stream.output.isEmpty {
                guard case .done(let count) = try Linux.send(raw, client.stream.output) else { break }
                client.stream.sent(count, now: now)
            }
            if client.stream.isFinished { return self.drop(client, token: token) }
            var events: Epoll.Events = []
            if client.stream.wantsInput, !self.isFreezing { events.insert(.readable) }
            if !client.stream.output.isEmpty { events.insert(.writable) }
            guard events != client.events else { return }
            client.events = events
            try self.epoll.modify(raw, events, data: token)
        } catch {
            self.drop(client, token: token)
        }
    }

    /// Closes it with its last reference.
    func drop(_ client: Client, token: UInt64) {
        guard self.watched.removeValue(forKey: token) != nil else { return }
        try? self.epoll.remove(client.holder.raw)
        self.streamCount -= 1
    }
}

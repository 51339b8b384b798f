// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshModel

/// The socket of one attempt: every one has its own, so that the kernel chooses a new port for it and takes answers from
/// the resolver alone.
final class UpstreamSocket {
    let descriptor: FileDescriptor
    let attempt: UInt64
    let isStream: Bool
    var stream: ClientStream

    init(_ descriptor: consuming FileDescriptor, attempt: UInt64, isStream: Bool) {
        self.descriptor = descriptor
        self.attempt = attempt
        self.isStream = isStream
        self.stream = ClientStream(now: 0)
    }
}

extension NameLoop {
    /// Its sockets are of nodemeshd's own cgroup, so that no program sends them back here.
    func open(
        _ attempt: UInt64, _ upstream: Upstream, isStream: Bool, _ bytes: [UInt8]
    ) throws(SystemError) {
        let endpoint = Endpoint(
            high: upstream.address.high, low: upstream.address.low, port: upstream.port, scope: upstream.scope)
        let namespace = upstream.namespace.flatMap { self.spaces[$0]?.namespace } ?? self.home
        try namespace.enter()
        let result = Result { () throws(SystemError) in
            let descriptor =
                isStream ? try Linux.tcpSocket(endpoint.family) : try Linux.udpSocket(endpoint.family)
            return descriptor.release()
        }
        try self.home.enter()
        let socket = UpstreamSocket(FileDescriptor(owning: try result.get()), attempt: attempt, isStream: isStream)
        let raw = socket.descriptor.raw
        _ = try Linux.connect(raw, to: endpoint)
        if isStream {
            socket.stream.enqueue(bytes, now: 0)
        } else {
            _ = try Linux.send(raw, bytes)
        }
        self.attempts[attempt] = try self.watch(
            raw, .upstream(socket), for: isStream ? [.readable, .writable] : .readable)
    }

    func hear(_ socket: UpstreamSocket, token: UInt64, _ events: Epoll.Events, now: UInt64) {
        do throws(SystemError) {
            if socket.isStream {
                try self.hearStream(socket, token: token, events, now: now)
            } else {
                try self.hearDatagrams(socket, now: now)
            }
        } catch {
            self.perform(self.resolver.failed(attempt: socket.attempt, now: now))
        }
    }

    private func hearDatagrams(_ socket: UpstreamSocket, now: UInt64) throws(SystemError) {
        // Whoever floods it with wrong answers gets no more than this of a turn.
        for _ in 0..<8 {
            let result = try self.read(socket)
            guard case .done(let count) = result else { return }
            self.perform(
                self.resolver.received(Array(self.buffer[..<count]), attempt: socket.attempt, now: now))
            guard self.attempts[socket.attempt] != nil else { return }
        }
    }

    private func hearStream(
        _ socket: UpstreamSocket, token: UInt64, _ events: Epoll.Events, now: UInt64
    ) throws(SystemError) {
        let raw = socket.descriptor.raw
        if events.contains(.error) || events.contains(.hangUp), !events.contains(.readable) {
            throw SystemError(call: "connect", errno: Linux.socketError(raw))
        }
        if events.contains(.writable), !socket.stream.output.isEmpty {
            if case .done(let count) = try Linux.send(raw, socket.stream.output) { socket.stream.sent(count, now: now) }
            if socket.stream.output.isEmpty { try self.epoll.modify(raw, .readable, data: token) }
        }
        guard events.contains(.readable), case .done(let count) = try self.read(socket) else { return }
        guard count > 0 else { throw SystemError(call: "recv", errno: 0) }
        for message in socket.stream.received(self.buffer[..<count], now: now) {
            self.perform(self.resolver.received(message, attempt: socket.attempt, now: now))
            guard self.attempts[socket.attempt] != nil else { return }
        }
    }

    private func read(_ socket: UpstreamSocket) throws(SystemError) -> IOResult<Int> {
        try Linux.receive(socket.descriptor.raw, into: &self.buffer)
    }
}

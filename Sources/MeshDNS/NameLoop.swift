// SPDX-License-Identifier: Apache-2.0
import Logging
import MeshLinux
import MeshModel

/// The sockets of a ``NameServer`` and the resolver behind them. Used by its thread alone.
final class NameLoop {
    /// A socket in the epoll set, by a number that is never used twice.
    enum Watched {
        case wakeUp
        case listener(NameSocket, inode: UInt64)
        case client(Client)
        case upstream(UpstreamSocket)
    }

    /// A client's TCP connection.
    final class Client {
        let holder: SocketHolder
        let asker: Asker
        let inode: UInt64
        var stream: ClientStream
        var events: Epoll.Events = .readable

        /// - Parameter input: what has come of a query already.
        init(_ holder: SocketHolder, asker: Asker, inode: UInt64, input: [UInt8] = [], now: UInt64) {
            self.holder = holder
            self.asker = asker
            self.inode = inode
            self.stream = ClientStream(input: input, now: now)
        }
    }

    let configuration: NameServerConfiguration
    let hooks: NameServerHooks
    let home: NetworkNamespace
    let logger: Logger
    let epoll: Epoll
    var resolver: NameResolver
    var watched: [UInt64: Watched] = [:]
    /// Sockets of attempts.
    var attempts: [UInt64: UInt64] = [:]
    var spaces: [UInt64: NameListeners] = [:]
    var streamCount = 0
    /// Listeners that had no descriptor for another connection.
    var paused: [UInt64] = []
    private var lookups: [UInt64: (NameLookup) -> Void] = [:]
    var lastToken: UInt64 = 0
    var buffer = [UInt8](repeating: 0, count: 65_536)
    private var lastRead: UInt64 = 0
    private var lastSweep: UInt64 = 0
    /// When to end at the latest.
    private var end: UInt64?
    /// It ends for another to go on: nothing new is begun, nothing is closed.
    var isFreezing = false
    /// After its end: connections to go on with, by inode of their namespace.
    private(set) var left: [UInt64: [CarriedNames.Client]] = [:]

    private static let farewell = NameResolver.second / 4
    private static let lastLook = NameResolver.second / 100
    private static let sweepInterval = NameResolver.second

    init(
        _ configuration: NameServerConfiguration, _ hooks: NameServerHooks, home: NetworkNamespace, logger: Logger
    ) throws(SystemError) {
        self.configuration = configuration
        self.hooks = hooks
        self.home = home
        self.logger = logger
        self.epoll = try Epoll(capacity: 64)
        let zone = MeshZone(
            snapshot: nil, domain: configuration.domain, aliases: configuration.aliases,
            timeToLive: configuration.timeToLive)
        // Unpredictable, as the ports are that the kernel chooses: both together keep others from answering.
        self.resolver = NameResolver(zone: zone, settings: configuration.resolver) {
            var generator = SystemRandomNumberGenerator()
            return UInt16.random(in: .min ... .max, using: &generator)
        }
    }

    func watchWakeUp(_ fd: CInt) throws(SystemError) { try self.watch(fd, .wakeUp) }

    @discardableResult
    func watch(_ fd: CInt, _ what: Watched, for events: Epoll.Events = .readable) throws(SystemError) -> UInt64 {
        self.lastToken += 1
        try self.epoll.add(fd, events, data: self.lastToken)
        self.watched[self.lastToken] = what
        return self.lastToken
    }

    // MARK: Running

    func run(takeJobs: () -> [NameServer.Job]) {
        while true {
            let count: Int
            do throws(SystemError) {
                count = try self.epoll.wait(milliseconds: self.timeout)
            } catch {
                self.logger.critical("names are no longer answered", metadata: ["reason": "\(error)"])
                return
            }
            let now = Clock.monotonic
            for index in 0..<count {
                let (events, token) = self.epoll.event(index)
                self.handle(token, events, now: now)
            }
            for job in takeJobs() { job(self) }
            self.perform(self.resolver.expire(now: Clock.monotonic))
            if now &- self.lastSweep >= Self.sweepInterval { self.sweep(now: now) }
            if let end = self.end, now >= end || self.isDone(quiet: count == 0) { break }
        }
        self.closeAll()
    }

    /// - Parameter quiet: this turn brought no news.
    private func isDone(quiet: Bool) -> Bool {
        guard self.resolver.waitingCount == 0 else { return false }
        // What comes now is the next one's.
        guard self.isFreezing else { return quiet }
        return !self.watched.values.contains {
            if case .client(let client) = $0 { !client.stream.output.isEmpty } else { false }
        }
    }

    /// Milliseconds until something has to be done.
    private var timeout: CInt {
        let now = Clock.monotonic
        var next = self.resolver.nextDeadline
        if self.streamCount > 0 || !self.paused.isEmpty {
            next = min(next ?? .max, self.lastSweep + Self.sweepInterval)
        }
        if let end = self.end { next = min(next ?? .max, end, now + Self.lastLook) }
        guard let next else { return -1 }
        return next <= now ? 0 : CInt(min((next - now) / 1_000_000 + 1, 60_000))
    }

    private func handle(_ token: UInt64, _ events: Epoll.Events, now: UInt64) {
        switch self.watched[token] {
        case .wakeUp, nil: break
        case .listener(let socket, let inode):
            if socket.isStream {
                self.accept(socket, inode: inode, token: token, now: now)
            } else {
                self.receive(socket, inode: inode, token: token, now: now)
            }
        case .client(let client): self.serve(client, token: token, events, now: now)
        case .upstream(let socket): self.hear(socket, token: token, events, now: now)
        }
    }

    /// Closes what nobody uses, and takes connections again where there was no descriptor for them.
    private func sweep(now: UInt64) {
        self.lastSweep = now
        for (token, watched) in self.watched {
            guard case .client(let client) = watched, client.stream.isIdle(now: now) else { continue }
            self.drop(client, token: token)
        }
        if self.isFreezing { return }
        let paused = self.paused
        self.paused = []
        for token in paused {
            guard case .listener(let socket, _) = self.watched[token] else { continue }
            do throws(SystemError) { try self.epoll.add(socket.raw, .readable, data: token) } catch {
                self.paused.append(token)
            }
        }
    }

    // MARK: Doing what the resolver says

    func perform(_ actions: [DNSAction]) {
        var (queue, next) = (actions, 0)
        while next < queue.count {
            let action = queue[next]
            next += 1
            switch action {
            case .answer(let client, let bytes, let report): self.answer(client, bytes, report)
            case .open(let attempt, let upstream, let isStream, let bytes):
                self.hooks.onAttempt(isStream)
                do throws(SystemError) {
                    try self.open(attempt, upstream, isStream: isStream, bytes)
                } catch {
                    queue += self.resolver.failed(attempt: attempt, now: Clock.monotonic)
                }
            case .close(let attempt):
                if let token = self.attempts.removeValue(forKey: attempt) { self.watched[token] = nil }
            case .failure(let upstream, let failure): self.hooks.onFailure(upstream, failure)
            }
        }
    }

    private func answer(_ client: DNSClient, _ bytes: [UInt8], _ report: QueryReport) {
        let now = Clock.monotonic
        let duration = now &- report.began
        self.hooks.onAnswer(report, duration)
        switch client {
        case .datagram(let token, let peer):
            guard case .listener(let socket, _) = self.watched[token] else { return }
            // One that does not fit into the socket's buffer is lost, as datagrams are.
            _ = try? Linux.send(socket.raw, bytes, to: peer)
        case .stream(let token):
            guard case .client(let stream) = self.watched[token] else { return }
            stream.stream.answered(bytes, now: now)
            self.flush(stream, token: token, now: now)
        case .local(let token):
            let lookup = self.lookups.removeValue(forKey: token)
            lookup?(NameLookup(message: bytes, report: report, duration: duration))
        }
    }

    /// Asks; the node's own resolvers are looked up first where that was long ago.
    func ask(_ bytes: [UInt8], from client: DNSClient, by asker: Asker, now: UInt64) {
        if self.lastRead == 0 || now &- self.lastRead >= Self.sweepInterval {
            self.lastRead = now
            self.resolver.upstreams = self.hooks.nodeResolvers()
        }
        self.perform(self.resolver.ask(bytes, from: client, by: asker, now: now))
    }

    // MARK: The door

    /// - Parameter clients: connections to go on with.
    func add(_ listeners: NameListeners, inode: UInt64, clients: [CarriedNames.Client]) {
        self.spaces[inode] = listeners
        for socket in listeners.sockets {
            do throws(SystemError) {
                try self.watch(socket.raw, .listener(socket, inode: inode))
            } catch {
                self.logger.error("names are not answered at a socket", metadata: ["reason": "\(error)"])
            }
        }
        for client in clients { self.adopt(client, in: listeners, inode: inode) }
    }

    func remove(inode: UInt64) {
        self.spaces[inode] = nil
        for (token, watched) in self.watched {
            switch watched {
            case .listener(let socket, inode):
                // Its descriptor may be held elsewhere.
                try? self.epoll.remove(socket.raw)
                socket.retire()
                self.watched[token] = nil
            case .client(let client) where client.inode == inode: self.drop(client, token: token)
            case .listener, .client, .wakeUp, .upstream: break
            }
        }
    }

    func lookup(_ question: DNSQuestion, by asker: Asker, _ done: @escaping (NameLookup) -> Void) {
        self.lastToken += 1
        self.lookups[self.lastToken] = done
        let query = DNSQuery(asking: question, edns: EDNS(size: EDNS.safeSize))
        self.ask(query.bytes, from: .local(self.lastToken), by: asker, now: Clock.monotonic)
    }

    var status: NameServerStatus {
        var status = NameServerStatus()
        status.namespaces = self.spaces.count
        status.cacheEntries = self.resolver.cache.count
        status.cacheBytes = self.resolver.cache.byteCount
        status.waiting = self.resolver.waitingCount
        status.streams = self.streamCount
        status.upstreams = self.hooks.nodeResolvers()
        status.down = self.resolver.health.down(now: Clock.monotonic)
        return status
    }

    /// The TCP listeners go first: without them the kernel sends nothing here any more. What is on its way is answered.
    func stop() {
        self.end = Clock.monotonic + Self.farewell
        for (token, watched) in self.watched {
            guard case .listener(let socket, _) = watched, socket.isStream else { continue }
            Linux.stopListening(socket.raw)
            self.watched[token] = nil
        }
    }

    /// Reads nothing more: what comes waits for the next. What is on its way is answered.
    func freeze() {
        self.end = Clock.monotonic + Self.farewell
        self.isFreezing = true
        for (token, watched) in self.watched {
            switch watched {
            // It stays known: answers go out by it.
            case .listener(let socket, _): try? self.epoll.remove(socket.raw)
            case .client(let client): self.flush(client, token: token, now: Clock.monotonic)
            case .wakeUp, .upstream: break
            }
        }
    }

    private func closeAll() {
        if self.isFreezing {
            for case .client(let client) in self.watched.values where client.stream.isQuiet {
                self.left[client.inode, default: []].append(
                    CarriedNames.Client(holder: client.holder, input: client.stream.input))
            }
        }
        self.watched = [:]
        self.attempts = [:]
        self.spaces = [:]
        for (_, done) in self.lookups {
            let report = QueryReport(
                workload: 0, type: nil, code: .serverFailure, isEmpty: false, source: .none, began: Clock.monotonic)
            done(NameLookup(message: [], report: report, duration: 0))
        }
        self.lookups = [:]
    }
}

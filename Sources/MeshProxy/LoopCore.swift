// SPDX-License-Identifier: Apache-2.0
import Logging
import MeshLinux
import MeshModel
import MeshTunnel

/// One event loop: an epoll set, the connections accepted by it, and everything they borrow. Only its own thread touches
/// it, so it has no locks; it never waits for anything but epoll.
final class LoopCore {
    /// Busy connections that are served between two looks at epoll.
    private static let readyPerTurn = 64

    /// Places of connections that are looked at in one turn when all are listed.
    static let placesPerLook: UInt32 = 512

    /// Nanoseconds.
    private static let trimInterval: UInt64 = 2_000_000_000

    /// What an epoll event belongs to, in the upper bits of its data.
    private enum Tag {
        static let side: UInt64 = 0
        static let listener: UInt64 = 1
        static let wakeUp: UInt64 = 2
    }

    let settings: LoopSettings
    /// As at the start, with what has changed since, see ``reconfigure(_:)``.
    var configuration: ProxyConfiguration
    let epoll: Epoll
    var sides = SideTable()
    var blocks: BlockPool
    var pipes: PipePool
    var contexts: AEADContextPool
    var timers = Timers()
    /// Sides' connections that used up their share of a turn.
    private var ready = FairQueue<UInt16, Connection>(limitPerKey: .max)
    var destinations: TunnelDestinations
    /// Tunnels without a connection.
    var quietCount = 0
    /// By which other threads hand in what they have done for this loop.
    weak var door: EventLoop?
    var view: ProxyView?
    /// Why the view may not decide about new connections; nil: it may.
    var staleness: String?
    var listeners: [UInt32: Listener] = [:]
    private var lastListener: UInt32 = 0
    /// This node's workloads, by TLS server name.
    var workloadsByName: [String: LocalWorkload] = [:]
    var workloads: [WorkloadID: LocalWorkload] = [:]
    /// By the number under which eBPF knows them.
    var workloadsByKey: [UInt32: LocalWorkload] = [:]
    /// By the inode of their network namespace.
    var workloadsByNamespace: [UInt64: [LocalWorkload]] = [:]
    /// Connections that wait for a certificate.
    var parked: [Connection] = []
    /// The next side to be asked again whether its policy still allows it; nil: all done.
    private var recheckFrom: UInt32?
    var statistics = ProxyStatistics()
    /// What is known of the endpoints of services used in this view, by their sets.
    var boundServices: [Int: BoundService] = [:]
    var random = FastRandom(seed: .random(in: 0 ... .max))
    var retries: RetryBudget
    /// Steps of a flow that is being pumped: see ``steps``.
    var stepsLeft = LoopCore.steps
    /// Nanoseconds of the monotonic clock at the begin of the turn.
    var now: UInt64 = Clock.monotonic
    /// The thread has left the process's own namespace.
    var isElsewhere = false
    /// When buffers and keys are looked through for what nothing needs any more; 0: there is nothing.
    private var nextTrim: UInt64 = 0
    /// What was freed is still inside the heap.
    private var isMemoryToReturn = false
    /// Held so that, when there are no descriptors left, one connection at a time can still be accepted and refused.
    var spare: CInt = -1
    private(set) var isStopping = false
    private(set) var isDraining = false
    /// Nothing new is begun: the loop is about to be handed over.
    var isFreezing = false
    var adoption = LoopAdoption()
    var keeping = Keeping()

    init(_ settings: LoopSettings) throws(SystemError) {
        let configuration = settings.configuration
        self.settings = settings
        self.configuration = configuration
        self.epoll = try Epoll(capacity: 256)
        self.blocks = BlockPool(
            batch: min(16, max(1, configuration.batchSize / RecordLayout.content)),
            lentLimit: configuration.lentBuffersPerLoop, ownerLimit: configuration.lentBuffersPerWorkload)
        self.pipes = try PipePool(
            size: configuration.pipeSize, limit: configuration.lentPipesPerLoop,
            ownerLimit: configuration.lentPipesPerWorkload)
        self.destinations = TunnelDestinations(limit: configuration.tunnelPool.maxDestinations)
        self.retries = RetryBudget(
            percent: configuration.retryPercent, perSecond: configuration.retriesPerSecond)
        self.contexts = AEADContextPool(provider: settings.aead, capacity: 512)
        self.spare = try Linux.tcpSocket().release()
    }

    deinit { if self.spare >= 0 { Linux.close(self.spare) } }

    func watchWakeUp(_ fd: CInt) throws(SystemError) {
        try self.epoll.add(fd, [.readable], data: Tag.wakeUp << 62)
    }

    // MARK: - Turns

    /// Runs until ``stop()``.
    func run(takeJobs: () -> (jobs: [EventLoop.Job], since: UInt64)) {
        while !self.isStopping {
            let count = (try? self.epoll.wait(milliseconds: self.timeout)) ?? 0
            self.now = Clock.monotonic
            // What the daemon was told is done holds for every connection that came after it was told.
            if (0..<count).contains(where: { self.epoll.event($0).data >> 62 == Tag.wakeUp }) {
                let (jobs, since) = takeJobs()
                if !jobs.isEmpty { self.statistics.jobDelays.add(Clock.monotonic &- since) }
                for job in jobs { job(self) }
            }
            for index in 0..<count {
                let (events, data) = self.epoll.event(index)
                switch data >> 62 {
                case Tag.side: self.handle(events, data)
                case Tag.listener:
                    if let listener = self.listeners[UInt32(truncatingIfNeeded: data)] { self.accept(listener) }
                default: break
                }
            }
            self.serveReady()
            self.fireTimers()
            if self.recheckFrom != nil { self.recheckSome() }
            self.trimIfDue()
            self.statistics.turns += 1
            let time = Clock.monotonic &- self.now
            self.statistics.turnTimes.add(time)
            if time > 1_000_000 { self.statistics.slowTurns += 1 }
        }
    }

    /// Milliseconds that the next turn may wait; -1: for ever.
    private var timeout: CInt {
        if !self.ready.isEmpty || self.recheckFrom != nil { return 0 }
        let next = min(self.timers.next ?? .max, self.nextTrim == 0 ? .max : self.nextTrim)
        if next == .max { return -1 }
        let now = Clock.monotonic
        return next <= now ? 0 : CInt(clamping: (next - now + 999_999) / 1_000_000)
    }

    /// Gives back what a busy moment took, once it is over.
    @inline(__always)
    private func trimIfDue() {
        if self.nextTrim == 0 {
            if self.blocks.hasSpare { self.nextTrim = self.now &+ Self.trimInterval }
        } else if self.now >= self.nextTrim {
            self.trim()
        }
    }

    @inline(never)
    private func trim() {
        let (hasFreed, hasForgotten) = (self.blocks.trim(), self.contexts.trim())
        if hasFreed || hasForgotten { self.isMemoryToReturn = true }
        if self.isMemoryToReturn, self.settings.workers.returnMemory(now: self.now) { self.isMemoryToReturn = false }
        // A second look comes after each that found something: what was warm then may be cold now.
        let isDone = !hasFreed && !hasForgotten && !self.isMemoryToReturn && !self.blocks.hasSpare
        self.nextTrim = isDone ? 0 : self.now &+ Self.trimInterval
    }

    /// Ends ``run(takeJobs:)`` after closing everything.
    func stop() {
        for listener in self.listeners.keys { self.removeListener(listener) }
        self.isStopping = true
        self.closeAll(.shutdown) { _ in true }
    }

    /// Ends ``run(takeJobs:)`` after this turn and leaves everything as it is.
    func halt() { self.isStopping = true }

    /// From now on tunnels are not kept for further connections.
    func drain() {
        self.isDraining = true
        self.retireTunnels { _ in true }
    }

    // MARK: - Sides

    /// Begins to watch a side's socket.
    func watch(_ index: UInt32) throws(SystemError) {
        try self.epoll.add(self.sides[index].pointee.fd, .stream, data: self.eventData(index))
    }

    /// What comes with the events of a side's socket.
    func eventData(_ index: UInt32) -> UInt64 {
        UInt64(self.sides[index].pointee.generation & 0x3fff_ffff) << 32 | UInt64(index)
    }

    private func handle(_ events: Epoll.Events, _ data: UInt64) {
        let index = UInt32(truncatingIfNeeded: data)
        let side = self.sides[index]
        // An event of this very turn may have closed the connection and even given its place away.
        guard side.pointee.generation & 0x3fff_ffff == UInt32(truncatingIfNeeded: data >> 32),
            let reference = side.pointee.connection
        else { return }
        if events.contains(.readable) { side.pointee.flags.insert(.readable) }
        if events.contains(.writable) { side.pointee.flags.insert(.writable) }
        if !events.isDisjoint(with: [.readHangUp, .hangUp]) { side.pointee.flags.formUnion([.readable, .hangUp]) }
        if events.contains(.urgent) { side.pointee.flags.formUnion([.readable, .hangUp, .urgent]) }
        if events.contains(.error) {
            side.pointee.flags.formUnion([.readable, .writable, .hangUp, .failed])
        }
        let connection = reference.takeUnretainedValue()
        if case .relaying = connection.machine.state {
            self.relay(connection)
        } else {
            self.continueSetup(connection, index)
        }
    }

    /// Goes on with a connection in the next turn.
    @inline(__always)
    func makeReady(_ connection: Connection) {
        if connection.isReady { return }
        connection.isReady = true
        _ = self.ready.append(connection, key: connection.traffic.owner)
    }

    private func serveReady() {
        // Bounded, and in turns of workloads: one with a thousand busy connections must not keep the others waiting.
        for _ in 0..<min(self.ready.count, Self.readyPerTurn) {
            guard let connection = self.ready.popFirst() else { return }
            connection.isReady = false
            switch connection.machine.state {
            case .relaying: self.relay(connection)
            case .awaitingRequest: self.readRequest(connection)
            case .securingClient, .resolving, .awaitingIdentity, .dialing, .securingServer, .awaitingAnswer, .pooled,
                .refusing, .closed:
                break
            }
        }
    }

    // MARK: - Listeners

    func addListener(_ listener: Listener) {
        self.lastListener += 1
        let id = self.lastListener
        self.listeners[id] = listener
        Linux.resetOnClose(listener.descriptor.raw)
        do throws(SystemError) {
            // Level-triggered: each turn accepts some, the rest is told again.
            try self.epoll.add(listener.descriptor.raw, [.readable], data: Tag.listener << 62 | UInt64(id))
        } catch {
            self.settings.logger.error(
                "cannot watch a listener", metadata: ["address": "\(listener.address)", "error": "\(error)"])
        }
    }

    func removeListener(_ id: UInt32) {
        guard let listener = self.listeners.removeValue(forKey: id) else { return }
        try? self.epoll.remove(listener.descriptor.raw)
    }

    // MARK: - Deadlines

    /// Looks at the connection after that many nanoseconds, unless a later call says otherwise.
    func setDeadline(_ connection: Connection, after nanoseconds: UInt64) {
        connection.deadline = self.now &+ nanoseconds
        self.arm(connection)
    }

    /// Pumps a relaying connection again after that many nanoseconds, event or not.
    func setPoll(_ connection: Connection, after nanoseconds: UInt64) {
        connection.pollAt = self.now &+ nanoseconds
        self.arm(connection)
    }

    private func arm(_ connection: Connection) {
        let (poll, deadline) = (connection.pollAt, connection.deadline)
        let time = poll == 0 ? deadline : deadline == 0 ? poll : min(poll, deadline)
        if time == 0 { return }
        // Of the place, not of the connection: many short connections with a far deadline each leave one entry together.
        let side = self.sides[connection.index]
        if side.pointee.timerAt != 0, side.pointee.timerAt <= time { return }
        side.pointee.timerAt = time
        self.timers.add(Timers.Entry(time: time, index: connection.index))
    }

    private func fireTimers() {
        // Bounded: the next turn fires the rest.
        for _ in 0..<256 {
            guard let entry = self.timers.pop(now: self.now) else { return }
            let side = self.sides[entry.index]
            if side.pointee.timerAt == entry.time { side.pointee.timerAt = 0 }
            guard let connection = side.pointee.connection?.takeUnretainedValue() else { continue }
            self.resumeIfDue(connection)
            if connection.pollAt != 0, connection.pollAt <= self.now {
                connection.pollAt = 0
                if case .relaying = connection.machine.state { self.relay(connection) }
                if case .closed = connection.machine.state { continue }
            }
            if connection.deadline != 0, connection.deadline <= self.now {
                self.deadlinePassed(connection)
            } else {
                self.arm(connection)
            }
        }
    }

    private func deadlinePassed(_ connection: Connection) {
        connection.deadline = 0
        guard case .relaying = connection.machine.state else {
            self.timedOut(connection)
            return
        }
        guard let limit = self.quietLimit(connection) else { return }
        if self.now - connection.activity >= limit {
            connection.record.detail = connection.isHalfClosed ? "half closed and nothing moved" : "nothing moved"
            self.close(connection, .idleTimeout)
        } else {
            connection.deadline = connection.activity + limit
            self.arm(connection)
        }
    }

    /// How long a relaying connection may be quiet (nanoseconds); nil: for ever.
    func quietLimit(_ connection: Connection) -> UInt64? {
        let idle = self.configuration.idleTimeout?.nanoseconds
        guard connection.isHalfClosed else { return idle }
        let halfClosed = self.configuration.halfClosedTimeout.nanoseconds
        return min(halfClosed, idle ?? halfClosed)
    }

    // MARK: - Views

    func update(_ view: ProxyView) {
        self.view = view
        self.dropStaleDestinations(view)
        self.boundServices.removeAll(keepingCapacity: true)
        for workload in self.workloads.values { workload.usage.update(view.snapshot.workload(workload.id)?.limits) }
        self.recheckFrom = 0
        self.viewArrived()
        let parked = self.parked
        self.parked.removeAll(keepingCapacity: true)
        for connection in parked {
            connection.isParked = false
            self.noteUnparked(connection)
            self.perform(connection.machine.viewChanged(), connection)
        }
    }

    /// Asks the policies again about some established connections.
    private func recheckSome() {
        guard let from = self.recheckFrom, let view = self.view else {
            self.recheckFrom = nil
            return
        }
        let end = min(from + 512, UInt32(self.sides.capacity))
        for index in stride(from: from, to: end, by: 2) {
            guard let connection = self.sides[index].pointee.connection?.takeUnretainedValue(),
                case .relaying = connection.machine.state
            else { continue }
            self.updateMetering(connection)
            guard let input = connection.policyInput, let id = connection.policyWorkload else { continue }
            guard let workload = view.snapshot.workload(id) else { continue }
            let decision = view.snapshot.decide(input, for: workload)
            if decision.isAllowed { continue }
            connection.record.policy = decision.policy
            connection.record.detail = "a policy change denies the connection"
            self.close(connection, .policyDenied)
        }
        self.recheckFrom = end < UInt32(self.sides.capacity) ? end : nil
    }
}

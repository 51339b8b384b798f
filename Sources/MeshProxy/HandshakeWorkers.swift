// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshModel
import Synchronization

/// The threads that do the arithmetic of TLS handshakes, so that a loop's established connections never wait for a
/// signature. Whose turn it is goes round over the workloads (or peers) that ask.
final class HandshakeWorkers: Sendable {
    /// Whose handshake it is: a workload of this node dials, or a peer node does.
    enum Requester: Hashable {
        case workload(WorkloadID)
        case peer(IPAddress)
    }

    private struct Job: Sendable {
        let pending: PendingHandshake
        /// Called on the worker's thread with the step done.
        let done: @Sendable () -> Void
    }

    private struct State: ~Copyable {
        /// Going on comes before beginning: a handshake holds tens of kilobytes until it is done.
        var begun = FairQueue<Requester, Job>(limitPerKey: HandshakeWorkers.limit)
        var new = FairQueue<Requester, Job>(limitPerKey: HandshakeWorkers.limit)
        var isStopped = false
        var isMemoryToReturn = false
        var nextReturn: UInt64 = 0
    }

    /// Nanoseconds between two times of giving memory back.
    private static let returnInterval: UInt64 = 10_000_000_000

    /// Steps that one requester may have waiting.
    private static let limit = 4096

    private let state = Mutex(State())
    private let semaphore = Semaphore()
    private let threads = Mutex<[Thread]>([])

    private final class Thread: Sendable {
        let handle: Mutex<OSThread?>
        init(_ thread: consuming OSThread) { self.handle = Mutex(thread) }
    }

    init() {}

    func start(threads count: Int) throws(SystemError) {
        for index in 0..<max(1, count) {
            let thread = Thread(try OSThread(name: "nm-tls-\(index)") { [self] in self.run() })
            self.threads.withLock { $0.append(thread) }
        }
    }

    /// Does a step of a handshake soon.
    ///
    /// - Returns: false when the requester has too many waiting; the step will not be done.
    func submit(
        _ pending: PendingHandshake, for requester: Requester, done: @escaping @Sendable () -> Void
    ) -> Bool {
        let job = Job(pending: pending, done: done)
        let isNew = !pending.hasBegun
        let isTaken = self.state.withLock { state in
            if state.isStopped { return false }
            return isNew ? state.new.append(job, key: requester) : state.begun.append(job, key: requester)
        }
        if isTaken { self.semaphore.signal() }
        return isTaken
    }

    /// Has free memory inside the heap given back to the system soon: some milliseconds of work, which a loop must not
    /// do. Handshakes leave free pieces everywhere, and the C library keeps them unless it is asked.
    ///
    /// - Parameter now: nanoseconds of the monotonic clock.
    /// - Returns: false when that was done a short while ago: it takes the heap's locks.
    func returnMemory(now: UInt64) -> Bool {
        let isAccepted = self.state.withLock { state in
            guard now >= state.nextReturn else { return false }
            state.nextReturn = now &+ Self.returnInterval
            state.isMemoryToReturn = true
            return true
        }
        if isAccepted { self.semaphore.signal() }
        return isAccepted
    }

    /// Steps that wait.
    var count: Int { self.state.withLock { $0.begun.count + $0.new.count } }

    /// Returns all handshakes whose first step still waits, as they are.
    func returnNew() {
        var jobs: [Job] = []
        self.state.withLock { state in
            while let job = state.new.popFirst() { jobs.append(job) }
        }
        for job in jobs { job.done() }
    }

    /// Ends the threads; steps that still wait are not done.
    func stop() {
        self.state.withLock { state in
            state.isStopped = true
            state.begun.removeAll { _ in true }
            state.new.removeAll { _ in true }
        }
        let threads = self.threads.withLock { threads in
            defer { threads = [] }
            return threads
        }
        for _ in threads { self.semaphore.signal() }
        for thread in threads { thread.handle.withLock { $0.take() }?.join() }
    }

    private func run() {
        while true {
            self.semaphore.wait()
            let (job, isMemoryToReturn, isStopped) = self.state.withLock { state in
                let job = state.begun.popFirst() ?? state.new.popFirst()
                defer { if job == nil { state.isMemoryToReturn = false } }
                return (job, state.isMemoryToReturn, state.isStopped)
            }
            if let job {
                job.pending.step()
                job.done()
            } else if isStopped {
                return
            } else if isMemoryToReturn {
                ProcessLimits.returnFreeMemory()
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import Synchronization

/// The door to one loop: anything may be handed in from any thread; the loop runs it between two turns.
///
/// `@unchecked`: `core` is used by the loop's thread alone once it runs, `thread` only by ``start(name:)`` and
/// ``join()``, which ``Proxy`` calls under its lock.
final class EventLoop: @unchecked Sendable {
    typealias Job = @Sendable (LoopCore) -> Void

    private let wakeUp: WakeUp
    private let queue = Mutex(Queue())
    private let core: LoopCore

    private struct Queue {
        var jobs: [Job] = []
        /// When the first of them was handed in (nanoseconds of the monotonic clock).
        var since: UInt64 = 0
        /// Nobody will run what is submitted now.
        var isEnded = false
    }

    private var thread: OSThread?

    init(_ settings: LoopSettings) throws(SystemError) {
        self.wakeUp = try WakeUp()
        self.core = try LoopCore(settings)
        try self.core.watchWakeUp(self.wakeUp.raw)
        self.core.door = self
    }

    func start(name: String) throws(SystemError) {
        self.thread = try OSThread(name: name) { [self] in
            self.core.run(takeJobs: { self.takeJobs(isLast: false) })
            for job in self.takeJobs(isLast: true).jobs { job(self.core) }
        }
    }

    /// - Returns: whether the job will run; not when the loop has ended.
    @discardableResult
    func submit(_ job: @escaping Job) -> Bool {
        let (isTaken, isFirst) = self.queue.withLock { queue in
            if queue.isEnded { return (false, false) }
            if queue.jobs.isEmpty { queue.since = Clock.monotonic }
            queue.jobs.append(job)
            return (true, queue.jobs.count == 1)
        }
        if isFirst { self.wakeUp.signal() }
        return isTaken
    }

    private func takeJobs(isLast: Bool) -> (jobs: [Job], since: UInt64) {
        self.wakeUp.clear()
        return self.queue.withLock { queue in
            defer { queue = Queue(isEnded: isLast) }
            return (queue.jobs, queue.since)
        }
    }

    /// Waits for the end of the thread; a job must have told it to stop.
    func join() {
        guard let thread = self.thread.take() else { return }
        thread.join()
    }

    /// The loop itself, for the thread that has seen its end in ``join()``.
    var coreAfterEnd: LoopCore { self.core }

    /// Runs a job and returns its answer; nil when the loop has ended before.
    func ask<T: Sendable>(_ job: @escaping @Sendable (LoopCore) -> T) async -> T? {
        await withCheckedContinuation { continuation in
            let isTaken = self.submit { core in continuation.resume(returning: job(core)) }
            if !isTaken { continuation.resume(returning: nil) }
        }
    }
}

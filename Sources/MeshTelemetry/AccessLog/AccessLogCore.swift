// SPDX-License-Identifier: Apache-2.0

import Glibc
internal import MeshLinux
internal import MeshModel

/// The queue of an ``AccessLog`` and its thread.
///
/// `@unchecked Sendable`: every `var` is protected by `mutex`; the sink is the thread's own.
final class AccessLogCore: @unchecked Sendable {
    private let settings: AccessLogSettings
    private let sink: any AccessLogSink
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    /// Signalled when there is something for the thread to do, and broadcast when it has ended.
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var queue: AccessLogQueue
    private var isReopenWanted = false
    private var isStopping = false
    private var hasEnded = true

    init(settings: AccessLogSettings, sink: any AccessLogSink, capacity: Int) {
        self.settings = settings
        self.sink = sink
        self.queue = AccessLogQueue(capacity: capacity, linesPerSecond: settings.linesPerSecond)
        pthread_mutex_init(self.mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(self.changed, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(self.changed)
        pthread_mutex_destroy(self.mutex)
        self.changed.deallocate()
        self.mutex.deallocate()
    }

    private func withLock<Result>(_ body: () -> Result) -> Result {
        pthread_mutex_lock(self.mutex)
        defer { pthread_mutex_unlock(self.mutex) }
        return body()
    }

    /// The thread owns a reference to this object until it ends.
    func start() {
        self.hasEnded = false
        var thread = pthread_t()
        let own = Unmanaged.passRetained(self)
        if pthread_create(&thread, nil, runAccessLog, own.toOpaque()) == 0 {
            pthread_detach(thread)
        } else {
            own.release()
            // Without its thread the log takes nothing, and counts that.
            self.withLock { (self.hasEnded, self.isStopping) = (true, true) }
        }
    }

    func enqueue(_ event: AccessLogSettings.Event, _ record: ConnectionRecord) {
        guard self.settings.events.contains(event) else { return }
        let isWanted = self.settings.isWanted(event, record)
        let now = Clock.monotonic
        self.withLock {
            if !isWanted { return self.queue.filterOut() }
            if self.isStopping { return self.queue.lose(1, .queue) }
            let wasIdle = self.queue.waiting.isEmpty
            // What was dropped wants to be told of, if nothing else comes that takes it along.
            let isFirst = self.queue.add(.init(event: event, record: record), now: now) && wasIdle
            if isFirst || self.queue.mayTell(now) { pthread_cond_broadcast(self.changed) }
        }
    }

    func requestReopen() {
        self.withLock {
            self.isReopenWanted = true
            pthread_cond_broadcast(self.changed)
        }
    }

    func abandon() {
        self.withLock {
            self.isStopping = true
            pthread_cond_broadcast(self.changed)
        }
    }

    func stop(timeout: Int) -> Bool {
        var deadline = Self.deadline(after: max(0, timeout))
        return self.withLock {
            self.isStopping = true
            pthread_cond_broadcast(self.changed)
            while !self.hasEnded {
                if pthread_cond_timedwait(self.changed, self.mutex, &deadline) == ETIMEDOUT { return false }
            }
            return true
        }
    }

    var figures: AccessLog.Figures {
        self.withLock {
            .init(written: self.queue.written, filtered: self.queue.filtered, dropped: self.queue.dropped)
        }
    }

    private static func deadline(after seconds: Int) -> timespec {
        var deadline = timespec()
        clock_gettime(CLOCK_MONOTONIC, &deadline)
        deadline.tv_sec += seconds
        return deadline
    }

    // MARK: - The thread

    private struct Batch {
        var entries: [AccessLogQueue.Entry]
        var losses: [AccessLogQueue.Loss: UInt64]
        var isReopenWanted: Bool
    }

    fileprivate func run() {
        // Signals belong to the daemon's main thread, and a closed pipe is an error of write(2) here, not the end.
        var signals = sigset_t()
        sigfillset(&signals)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        while let batch = self.next() {
            if batch.isReopenWanted { self.sink.reopen() }
            var lines = batch.entries.map { entry in
                AccessLogText(
                    text: AccessLogLine.text(entry.record, event: entry.event), entry: (entry.event, entry.record))
            }
            // First, so that it stands before what came after the loss.
            let hasLosses = !batch.losses.isEmpty
            if hasLosses {
                lines.insert(AccessLogText(text: AccessLogLine.losses(batch.losses, at: Clock.wall), entry: nil), at: 0)
            }
            let count = self.sink.write(lines)
            self.withLock {
                let told = hasLosses ? 1 : 0
                self.queue.wrote(
                    max(0, count - told), of: batch.entries.count, untold: count < told ? batch.losses : [:])
            }
        }
        self.withLock {
            self.hasEnded = true
            pthread_cond_broadcast(self.changed)
        }
    }

    /// Waits for work; nil when there will be none.
    private func next() -> Batch? {
        self.withLock {
            while self.queue.waiting.isEmpty, !self.isReopenWanted, !self.queue.mayTell(Clock.monotonic) {
                if self.isStopping { return nil }
                if self.queue.untold.isEmpty {
                    pthread_cond_wait(self.changed, self.mutex)
                } else {
                    var deadline = Self.deadline(after: 1)
                    _ = pthread_cond_timedwait(self.changed, self.mutex, &deadline)
                }
            }
            defer { self.isReopenWanted = false }
            let taken = self.queue.take(now: Clock.monotonic)
            return Batch(entries: taken.entries, losses: taken.losses, isReopenWanted: self.isReopenWanted)
        }
    }
}

/// A named function, since a closure may inherit an isolation that the thread does not have.
private func runAccessLog(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let argument else { return nil }
    Unmanaged<AccessLogCore>.fromOpaque(argument).takeRetainedValue().run()
    return nil
}

// SPDX-License-Identifier: Apache-2.0

import Glibc
internal import MeshModel

/// The queue of an ``AccessLog`` and its thread.
///
/// `@unchecked Sendable`: every `var` is protected by `mutex`, except `descriptor` and `isTorn`, which are
/// the thread's own.
final class AccessLogCore: @unchecked Sendable {
    private let path: String?
    private let capacity: Int
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    /// Signalled when there is something for the thread to do, and broadcast when it has ended.
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var waiting: [ConnectionRecord] = []
    private var isReopenWanted = false
    private var isStopping = false
    private var hasEnded = true
    private var written: UInt64 = 0
    private var dropped: UInt64 = 0
    private var descriptor: CInt
    /// The thread's own: the last write ended inside a line.
    private var isTorn = false

    init(path: String?, descriptor: CInt, capacity: Int) {
        self.path = path
        self.descriptor = descriptor
        self.capacity = capacity
        pthread_mutex_init(self.mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(self.changed, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        if self.path != nil { _ = Glibc.close(self.descriptor) }
        pthread_cond_destroy(self.changed)
        pthread_mutex_destroy(self.mutex)
        self.changed.deallocate()
        self.mutex.deallocate()
    }

    static func open(_ path: String) throws(AccessLogError) -> CInt {
        let descriptor = Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o640)
        if descriptor < 0 { throw AccessLogError(path: path, errno: Glibc.errno) }
        return descriptor
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

    func enqueue(_ record: ConnectionRecord) {
        self.withLock {
            if self.isStopping || self.waiting.count >= self.capacity {
                self.dropped &+= 1
            } else {
                self.waiting.append(record)
                if self.waiting.count == 1 { pthread_cond_broadcast(self.changed) }
            }
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
        var deadline = timespec()
        clock_gettime(CLOCK_MONOTONIC, &deadline)
        deadline.tv_sec += max(0, timeout)
        return self.withLock {
            self.isStopping = true
            pthread_cond_broadcast(self.changed)
            while !self.hasEnded {
                if pthread_cond_timedwait(self.changed, self.mutex, &deadline) == ETIMEDOUT { return false }
            }
            return true
        }
    }

    var counts: (written: UInt64, dropped: UInt64) { self.withLock { (self.written, self.dropped) } }

    // MARK: - The thread

    fileprivate func run() {
        // Signals belong to the daemon's main thread, and a closed pipe is an error of write(2) here, not the end.
        var signals = sigset_t()
        sigfillset(&signals)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        while let batch = self.next() {
            if batch.isReopenWanted { self.reopen() }
            var text: [UInt8] = []
            text.reserveCapacity(batch.records.count * 512)
            if self.isTorn { text.append(UInt8(ascii: "\n")) }
            for record in batch.records { text.append(contentsOf: AccessLogLine.text(record).utf8) }
            let isWritten = self.writeAll(text)
            self.withLock {
                let count = UInt64(batch.records.count)
                if isWritten { self.written &+= count } else { self.dropped &+= count }
            }
        }
        self.withLock {
            self.hasEnded = true
            pthread_cond_broadcast(self.changed)
        }
    }

    /// Waits for work; nil when there will be none.
    private func next() -> (records: [ConnectionRecord], isReopenWanted: Bool)? {
        self.withLock {
            while self.waiting.isEmpty, !self.isReopenWanted {
                if self.isStopping { return nil }
                pthread_cond_wait(self.changed, self.mutex)
            }
            defer { (self.waiting, self.isReopenWanted) = ([], false) }
            return (self.waiting, self.isReopenWanted)
        }
    }

    private func reopen() {
        guard let path = self.path, let new = try? Self.open(path) else { return }
        _ = Glibc.close(self.descriptor)
        self.descriptor = new
    }

    /// False when the rest cannot be written: a full disk, a closed pipe.
    private func writeAll(_ bytes: [UInt8]) -> Bool {
        var offset = 0
        while offset < bytes.count {
            let result = bytes.withUnsafeBytes { buffer in
                Glibc.write(self.descriptor, buffer.baseAddress.map { $0 + offset }, buffer.count - offset)
            }
            if result >= 0 {
                offset += result
                continue
            }
            switch Glibc.errno {
            case EINTR:
                continue
            case EAGAIN:
                // Standard output may be a pipe that somebody else made non-blocking.
                var ready = pollfd(fd: self.descriptor, events: Int16(POLLOUT), revents: 0)
                _ = poll(&ready, 1, 1000)
            default:
                self.isTorn = offset > 0 && bytes[offset - 1] != UInt8(ascii: "\n")
                return false
            }
        }
        self.isTorn = false
        return true
    }
}

/// A named function, since a closure may inherit an isolation that the thread does not have.
private func runAccessLog(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let argument else { return nil }
    Unmanaged<AccessLogCore>.fromOpaque(argument).takeRetainedValue().run()
    return nil
}

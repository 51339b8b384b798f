// SPDX-License-Identifier: Apache-2.0

internal import MeshModel

/// What waits to be written, and what had to be dropped. It owns no lock, clock or file: ``AccessLogCore`` guards it and
/// says what time it is.
struct AccessLogQueue {
    /// Why lines were dropped; the raw value is the word in the metric and in the log.
    enum Loss: String, CaseIterable {
        /// More waited than there is room for.
        case queue
        /// More came in a second than may be written.
        case rate
        /// The file, socket or journal did not take them.
        case write
    }

    struct Entry {
        var event: AccessLogSettings.Event
        var record: ConnectionRecord
    }

    private let capacity: Int
    private let linesPerSecond: Int
    private(set) var waiting: [Entry] = []
    private(set) var written: UInt64 = 0
    private(set) var filtered: UInt64 = 0
    private(set) var dropped: [Loss: UInt64] = [:]
    /// Not told of in the log yet.
    private(set) var untold: [Loss: UInt64] = [:]
    private var lines: Double
    private var filledAt: UInt64 = 0
    private var toldAt: UInt64 = 0

    /// Nanoseconds between two lines about what was dropped.
    static let tellInterval: UInt64 = 1_000_000_000

    /// - Parameter linesPerSecond: 0: as many as come.
    init(capacity: Int, linesPerSecond: Int) {
        self.capacity = capacity
        self.linesPerSecond = linesPerSecond
        self.lines = Double(linesPerSecond)
    }

    /// - Parameter now: nanoseconds of the monotonic clock.
    /// - Returns: whether it waits now.
    mutating func add(_ entry: Entry, now: UInt64) -> Bool {
        if self.waiting.count >= self.capacity {
            self.lose(1, .queue)
            return false
        }
        guard self.takeLine(now) else {
            self.lose(1, .rate)
            return false
        }
        self.waiting.append(entry)
        return true
    }

    mutating func filterOut() { self.filtered += 1 }

    mutating func lose(_ count: Int, _ loss: Loss) {
        guard count > 0 else { return }
        self.dropped[loss, default: 0] += UInt64(count)
        self.untold[loss, default: 0] += UInt64(count)
    }

    /// Takes everything that waits and, where it is time to tell, what was dropped.
    mutating func take(now: UInt64) -> (entries: [Entry], losses: [Loss: UInt64]) {
        defer { self.waiting = [] }
        guard self.mayTell(now) else { return (self.waiting, [:]) }
        defer { self.untold = [:] }
        self.toldAt = now
        return (self.waiting, self.untold)
    }

    /// What ``take(now:)`` gave was written, or some of it was not.
    mutating func wrote(_ count: Int, of total: Int, untold: [Loss: UInt64]) {
        self.written += UInt64(count)
        self.lose(total - count, .write)
        for (loss, count) in untold { self.untold[loss, default: 0] += count }
    }

    /// Whether there is something to tell, and the last time is long enough ago.
    func mayTell(_ now: UInt64) -> Bool {
        !self.untold.isEmpty && (self.toldAt == 0 || now &- self.toldAt >= Self.tellInterval)
    }

    /// One second's worth of lines may come at once.
    private mutating func takeLine(_ now: UInt64) -> Bool {
        if self.linesPerSecond == 0 { return true }
        let rate = Double(self.linesPerSecond)
        if self.filledAt != 0 { self.lines = min(rate, self.lines + Double(now &- self.filledAt) * rate / 1e9) }
        self.filledAt = now
        if self.lines < 1 { return false }
        self.lines -= 1
        return true
    }
}

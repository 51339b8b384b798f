// SPDX-License-Identifier: Apache-2.0

import MeshModel

/// Connections whose spans are to be sent, and what was dropped. It owns no lock and no clock.
struct SpanQueue {
    /// Why a span was dropped; the raw value is the word in the metric.
    enum Loss: String, CaseIterable {
        /// More waited than there is room for.
        case queue
        /// The collector did not want it.
        case refused
        /// The collector could not be reached for too long.
        case unreachable
    }

    private let capacity: Int
    private var waiting: [ConnectionRecord] = []
    private(set) var sent: UInt64 = 0
    private(set) var dropped: [Loss: UInt64] = [:]

    init(capacity: Int) { self.capacity = capacity }

    var count: Int { self.waiting.count }

    mutating func add(_ record: ConnectionRecord) {
        if self.waiting.count >= self.capacity { self.drop(1, .queue) } else { self.waiting.append(record) }
    }

    /// Takes the oldest ones.
    mutating func take(atMost limit: Int) -> [ConnectionRecord] {
        let batch = Array(self.waiting.prefix(limit))
        self.waiting.removeFirst(batch.count)
        return batch
    }

    mutating func delivered(_ count: Int, refused: Int) {
        let refused = min(max(0, refused), count)
        self.sent += UInt64(count - refused)
        self.drop(refused, .refused)
    }

    mutating func drop(_ count: Int, _ loss: Loss) {
        if count > 0 { self.dropped[loss, default: 0] += UInt64(count) }
    }
}

/// How a batch is tried again, as OTLP asks for: after growing pauses with chance in them, and not for ever.
struct SpanRetry {
    /// Seconds.
    private static let first = 1.0
    private static let longest = 30.0
    /// Seconds after which a batch is given up.
    private static let patience = 300.0

    private var pause = Self.first
    private var waited = 0.0

    /// - Parameters:
    ///   - after: seconds that the collector asked for.
    ///   - chance: from 0 to 1.
    /// - Returns: seconds until the next try; nil: give up.
    mutating func failed(after: Double?, chance: Double) -> Double? {
        let next = max(after ?? 0, self.pause * (0.5 + chance / 2))
        self.pause = min(Self.longest, self.pause * 2)
        self.waited += next
        return self.waited > Self.patience ? nil : next
    }
}

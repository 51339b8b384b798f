// SPDX-License-Identifier: Apache-2.0

/// A loop's deadlines: a binary heap of (time, side). Nothing is ever removed before its time; what fires
/// when the connection there is gone or another one, or its deadline has moved, is dropped or put back by the loop.
struct Timers {
    struct Entry {
        var time: UInt64
        var index: UInt32
    }

    private var heap: [Entry] = []

    var count: Int { self.heap.count }

    /// Nanoseconds of the monotonic clock; nil: none.
    var next: UInt64? { self.heap.first?.time }

    mutating func add(_ entry: Entry) {
        self.heap.append(entry)
        var child = self.heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            if self.heap[parent].time <= self.heap[child].time { break }
            self.heap.swapAt(parent, child)
            child = parent
        }
    }

    /// The earliest entry that is not later than `now`.
    mutating func pop(now: UInt64) -> Entry? {
        guard let first = self.heap.first, first.time <= now else { return nil }
        let last = self.heap.removeLast()
        if self.heap.isEmpty { return first }
        self.heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < self.heap.count {
                if self.heap[child].time < self.heap[least].time { least = child }
            }
            if least == parent { return first }
            self.heap.swapAt(parent, least)
            parent = least
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Messages over TCP, each behind its length (RFC 1035 §4.2.2): what has come, and what is to go. It owns no socket.
package struct ClientStream {
    /// Queries of one connection that wait for their answers, and bytes of answers that wait for their reader; past
    /// either nothing more is read of it.
    static let maximumPending = 32
    static let maximumOutput = 262_144
    /// Nanoseconds without a byte or a waiting query after which it is closed (RFC 7766 §6.2.3 leaves it to us).
    static let idleTimeout: UInt64 = 10_000_000_000

    /// What has come of a message.
    private(set) var input: [UInt8] = []
    private(set) var output: [UInt8] = []
    private(set) var pending = 0
    private(set) var lastActive: UInt64
    private var isInputEnded = false

    package init(input: [UInt8] = [], now: UInt64) {
        self.input = input
        self.lastActive = now
    }

    /// Takes bytes and returns the whole messages among them.
    package mutating func received(_ bytes: some Collection<UInt8>, now: UInt64) -> [[UInt8]] {
        self.lastActive = now
        self.input += bytes
        var (messages, offset) = ([[UInt8]](), 0)
        while self.input.count - offset >= 2 {
            let end = offset + 2 + (Int(self.input[offset]) << 8 | Int(self.input[offset + 1]))
            guard end <= self.input.count else { break }
            messages.append(Array(self.input[(offset + 2)..<end]))
            offset = end
        }
        self.input.removeFirst(offset)
        return messages
    }

    package mutating func asked() { self.pending += 1 }

    /// A query that gets no answer.
    package mutating func dropped() { self.pending -= 1 }

    package mutating func answered(_ message: [UInt8], now: UInt64) {
        self.pending -= 1
        self.enqueue(message, now: now)
    }

    package mutating func enqueue(_ message: [UInt8], now: UInt64) {
        self.lastActive = now
        self.output += [UInt8(message.count >> 8 & 255), UInt8(message.count & 255)]
        self.output += message
    }

    package mutating func sent(_ count: Int, now: UInt64) {
        self.lastActive = now
        self.output.removeFirst(count)
    }

    /// The other end sends no more.
    package mutating func inputEnded() { self.isInputEnded = true }

    package var wantsInput: Bool {
        !self.isInputEnded && self.pending < Self.maximumPending && self.output.count < Self.maximumOutput
    }

    /// Nobody waits for anything, and more may come.
    package var isQuiet: Bool { !self.isInputEnded && self.pending == 0 && self.output.isEmpty }

    package var isFinished: Bool { self.isInputEnded && self.pending == 0 && self.output.isEmpty }

    package func isIdle(now: UInt64) -> Bool {
        // A reader that takes nothing is idle too; whoever waits for an answer is not.
        self.pending == 0 && now > self.lastActive && now - self.lastActive > Self.idleTimeout
    }
}

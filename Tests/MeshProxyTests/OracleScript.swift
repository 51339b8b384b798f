// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux

/// What two applications do on one connection, drawn from a seed.
struct OracleScript: Sendable, CustomStringConvertible {
    enum Step: Sendable, Hashable {
        /// Sends and receives that many bytes at the same time, in pieces of at most `chunk`, after `stall` microseconds
        /// in which nothing is read.
        case exchange(send: Int, receive: Int, chunk: Int, stall: UInt32)
        /// Sends and receives, and resets the connection when that many bytes are sent.
        case abort(after: Int, chunk: Int)
        /// One byte of TCP urgent data, in no stream.
        case urgent
        case finish
        /// Reads to the end.
        case end
        case reset
        /// Waits until the connection is reset, and reads nothing.
        case hangUp
    }

    var client: [Step] = []
    var server: [Step] = []
    /// SO_SNDBUF and SO_RCVBUF of both ends; nil: the kernel's choice.
    var clientBuffer: CInt?
    var serverBuffer: CInt?
    /// Bytes were on their way when the connection was reset: how many arrived is chance.
    var isCountFree = false
    let seed: UInt64

    var description: String { "seed \(self.seed): client \(self.client), server \(self.server)" }

    init(seed: UInt64) {
        self.seed = seed
        var random = SplitMix(state: seed)
        func buffer() -> CInt? { [nil, nil, 32768, 131072].randomElement(using: &random) ?? nil }
        self.clientBuffer = buffer()
        self.serverBuffer = buffer()
        for _ in 0..<Int.random(in: 0...3, using: &random) { self.addExchange(&random) }
        self.addEnd(&random)
    }

    private static func size(_ random: inout SplitMix) -> Int {
        switch UInt32.random(in: 0..<8, using: &random) {
        case 0: 0
        case 1: 1
        case 2...4: Int.random(in: 2...5000, using: &random)
        case 5, 6: Int.random(in: 5000...60_000, using: &random)
        default: Int.random(in: 60_000...400_000, using: &random)
        }
    }

    private static func chunk(_ random: inout SplitMix) -> Int {
        [100_000, 16384, 16385, 4000].randomElement(using: &random) ?? 4000
    }

    private static func stall(_ random: inout SplitMix) -> UInt32 {
        UInt32.random(in: 0..<4, using: &random) == 0 ? UInt32.random(in: 100...4000, using: &random) : 0
    }

    private mutating func addExchange(_ random: inout SplitMix) {
        if UInt32.random(in: 0..<12, using: &random) == 0 {
            self.client.append(.urgent)
            self.addAnswer(toClient: true)
        }
        let (up, down) = (Self.size(&random), Self.size(&random))
        self.client.append(
            .exchange(send: up, receive: down, chunk: Self.chunk(&random), stall: Self.stall(&random)))
        self.server.append(
            .exchange(send: down, receive: up, chunk: Self.chunk(&random), stall: Self.stall(&random)))
    }

    /// One byte each way, in turn: when the first has its answer, the second has had everything.
    private mutating func addAnswer(toClient: Bool) {
        let ask = Step.exchange(send: 1, receive: 1, chunk: 1, stall: 0)
        let wait = Step.exchange(send: 0, receive: 1, chunk: 1, stall: 0)
        let answer = Step.exchange(send: 1, receive: 0, chunk: 1, stall: 0)
        self.client += toClient ? [ask] : [wait, answer]
        self.server += toClient ? [wait, answer] : [ask]
    }

    private mutating func addEnd(_ random: inout SplitMix) {
        let byClient = Bool.random(using: &random)
        func add(_ first: [Step], _ second: [Step]) {
            self.client += byClient ? first : second
            self.server += byClient ? second : first
        }
        let tail = Self.size(&random)
        let chunk = Self.chunk(&random)
        func send(_ count: Int) -> Step { .exchange(send: count, receive: 0, chunk: chunk, stall: 0) }
        func receive(_ count: Int) -> Step { .exchange(send: 0, receive: count, chunk: chunk, stall: 500) }
        switch UInt32.random(in: 0..<9, using: &random) {
        case 0: add([.finish, .end], [.finish, .end])
        case 1, 2: add([.finish, receive(tail), .end], [.end, send(tail), .finish])
        case 3:
            // Data and FIN in one go, to a reader that is late.
            add([send(tail), .finish, .end], [receive(tail), .end, .finish])
        case 4:
            self.addAnswer(toClient: byClient)
            add([.reset], [.end])
        case 5:
            self.addAnswer(toClient: byClient)
            add([.reset], [.hangUp])
        case 6: add([.finish, .end], [.end, .reset])
        case 7:
            add([.finish, receive(1), .reset], [.end, send(1), .hangUp])
        default:
            self.isCountFree = true
            // Before that a proxy may find the client gone before it has dialled, and the server never hears of it.
            self.addAnswer(toClient: byClient)
            add(
                [.abort(after: tail, chunk: chunk)],
                [.exchange(send: 200_000, receive: 500_000, chunk: chunk, stall: Self.stall(&random))])
        }
    }
}

/// A small generator, the same everywhere.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state &+= 0x9e37_79b9_7f4a_7c15
        var value = self.state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }
}

/// What one application saw.
struct OracleView: Equatable, Sendable, CustomStringConvertible {
    enum Ending: Sendable { case none, finished, reset, hungUp, aborted, timedOut, early }

    var received = 0
    var isRight = true
    var ending = Ending.none

    var description: String { "\(self.received) bytes\(self.isRight ? "" : ", wrong ones"), \(self.ending)" }
}

/// Carries out one side of a script.
struct OraclePlayer {
    let wire: Wire
    private var view = OracleView()
    private var sent = 0
    private var buffer = [UInt8](repeating: 0, count: 1 << 17)

    static func play(_ steps: [OracleScript.Step], on wire: Wire, buffer: CInt?) -> OracleView {
        if let buffer { try? Linux.setBufferSizes(wire.fd, send: buffer, receive: buffer) }
        try? Linux.setNoDelay(wire.fd)
        var player = OraclePlayer(wire: wire)
        for step in steps {
            player.play(step)
            if player.view.ending != .none, player.view.ending != .finished { break }
        }
        return player.view
    }

    private init(wire: Wire) { self.wire = wire }

    private mutating func play(_ step: OracleScript.Step) {
        switch step {
        case .exchange(let send, let receive, let chunk, let stall):
            if stall > 0 { usleep(stall) }
            self.exchange(self.sent + send, self.view.received + receive, chunk)
        case .abort(let count, let chunk):
            self.exchange(self.sent + count, self.view.received, chunk)
            self.wire.reset()
            self.view.ending = .aborted
        case .urgent:
            var byte: UInt8 = 33
            _ = Glibc.send(self.wire.fd, &byte, 1, CInt(MSG_OOB | MSG_NOSIGNAL))
        case .finish: self.wire.finish()
        case .end: self.exchange(self.sent, .max, 1 << 17)
        case .reset:
            self.wire.reset()
            self.view.ending = .aborted
        case .hangUp:
            self.view.ending = self.wait(0) & (POLLERR | POLLHUP) != 0 ? .hungUp : .timedOut
        }
    }

    /// Until so many bytes in all are sent and received.
    private mutating func exchange(_ sentGoal: Int, _ receivedGoal: Int, _ chunk: Int) {
        while self.sent < sentGoal || self.view.received < receivedGoal {
            var (events, hasMoved) = (Int32(0), false)
            do {
                if self.sent < sentGoal {
                    if try self.send(min(chunk, sentGoal - self.sent)) { hasMoved = true } else { events |= POLLOUT }
                }
                if self.view.received < receivedGoal {
                    let count = try self.receive(min(chunk, receivedGoal - self.view.received))
                    if count == 0 {
                        self.view.ending = receivedGoal == .max ? .finished : .early
                        return
                    }
                    if count != nil { hasMoved = true } else { events |= POLLIN }
                }
            } catch {
                self.view.ending = .reset
                return
            }
            if !hasMoved, self.wait(events) == 0 {
                self.view.ending = .timedOut
                return
            }
        }
    }

    private func wait(_ events: Int32) -> Int32 {
        var entry = pollfd(fd: self.wire.fd, events: Int16(events), revents: 0)
        return poll(&entry, 1, 20_000) > 0 ? Int32(entry.revents) : 0
    }

    /// - Returns: whether anything went out.
    private mutating func send(_ count: Int) throws -> Bool {
        let place = self.sent % Pattern.block.count
        let length = min(count, Pattern.block.count - place)
        let fd = self.wire.fd
        let result = try Pattern.block.withUnsafeBytes { bytes in
            try Linux.send(fd, bytes.baseAddress.unsafelyUnwrapped + place, length)
        }
        guard case .done(let sent) = result else { return false }
        self.sent += sent
        return true
    }

    /// - Returns: nil when there is nothing now.
    private mutating func receive(_ count: Int) throws -> Int? {
        let fd = self.wire.fd
        let length = min(count, self.buffer.count)
        let result = try self.buffer.withUnsafeMutableBytes { bytes in
            try Linux.receive(fd, bytes.baseAddress.unsafelyUnwrapped, length)
        }
        guard case .done(let read) = result else { return nil }
        for index in 0..<read
        where self.buffer[index] != Pattern.block[(self.view.received + index) % Pattern.block.count] {
            self.view.isRight = false
        }
        self.view.received += read
        return read
    }
}

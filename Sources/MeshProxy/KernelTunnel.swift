// SPDX-License-Identifier: Apache-2.0
import MeshLinux
import MeshTunnel

/// What a loop keeps of a tunnel whose records the kernel seals and opens. The keys are the kernel's alone.
final class KernelTunnel {
    let suite: CipherSuite
    var account: WireAccount
    /// As `account`, for what the kernel opened and was taken from it; nil: not known from the beginning.
    var receipts: WireAccount?
    var reader = KernelRecordReader()
    var budget = KeyBudget()
    var room = PipeRoom(slots: 0)
    /// No pipe that is large enough is to be had: this tunnel's records are copied.
    var isCopying = false
    /// close_notify was taken by the kernel.
    var isCloseSent = false
    /// Nanoseconds until the next look whether all is in TCP; grows, since a peer that does not read may take hours.
    private var pollInterval: UInt64 = 5_000_000

    init(suite: CipherSuite, account: WireAccount, receipts: WireAccount? = nil) {
        self.suite = suite
        self.account = account
        self.receipts = receipts
    }

    // MARK: - Handing over

    func write(to writer: inout StateWriter) {
        writer.put(self.suite.rawValue)
        self.account.write(to: &writer)
        self.reader.write(to: &writer)
        self.budget.write(to: &writer)
        writer.put(UInt32(clamping: self.room.used))
        writer.put(self.isCopying)
        writer.put(self.isCloseSent)
    }

    init(from reader: inout StateReader) throws(StateError) {
        self.suite = try CipherSuite(from: &reader)
        self.account = try WireAccount(from: &reader)
        self.reader = try KernelRecordReader(from: &reader)
        self.budget = try KeyBudget(from: &reader)
        self.room = PipeRoom(slots: 0, used: Int(try reader.integer(UInt32.self)))
        self.isCopying = try reader.bool()
        self.isCloseSent = try reader.bool()
    }

    // MARK: - After a crash

    /// What the kernel says of a socket: the numbers of its next records, and what passed TCP.
    struct Records {
        var sent: UInt64
        var received: UInt64
        var counts: Linux.StreamCounts
    }

    /// Goes on where the kernel is, from an older state. The pipe, if there is one, counts as full until it is empty.
    func resume(_ records: Records, isCloseSent: Bool) {
        self.account.resume(at: WireAccount.content(ofBytes: records.counts.written, records: records.sent))
        self.receipts?.resume(at: WireAccount.content(ofBytes: records.counts.read, records: records.received))
        self.budget = KeyBudget()
        self.budget.charge(
            content: Int(clamping: self.account.content),
            records: Int(clamping: records.sent &- self.account.firstSequence))
        self.room = PipeRoom(slots: 0, used: 1 << 20)
        self.isCloseSent = isCloseSent
        self.pollInterval = 5_000_000
    }

    // MARK: - Waiting

    func nextPoll() -> UInt64 {
        defer { self.pollInterval = min(self.pollInterval * 2, 320_000_000) }
        return self.pollInterval
    }
}

/// Whether all that the kernel took has reached TCP (trap T3). The kernel seals a record and may keep it back until TCP
/// has room; shutdown(2) and close(2) discard it then, without an error at any end.
struct WireAccount: Equatable {
    /// At the moment of the installation: the number of the next record, and all bytes TCP had been given.
    let firstSequence: UInt64
    let firstBytes: UInt64
    /// Content given to the kernel since, alerts included.
    private(set) var content: UInt64 = 0

    init(firstSequence: UInt64, firstBytes: UInt64) {
        self.firstSequence = firstSequence
        self.firstBytes = firstBytes
    }

    init(from reader: inout StateReader) throws(StateError) {
        self.firstSequence = try reader.integer()
        self.firstBytes = try reader.integer()
        self.content = try reader.integer()
    }

    func write(to writer: inout StateWriter) {
        for number in [self.firstSequence, self.firstBytes, self.content] { writer.put(number) }
    }

    @inline(__always)
    mutating func took(_ count: Int) { self.content &+= UInt64(count) }

    /// Where `content` has brought the stream, comparable with ``content(ofBytes:records:)``.
    var position: UInt64 {
        Self.content(ofBytes: self.firstBytes, records: self.firstSequence) &+ self.content
    }

    /// TCP's bytes less what the records before `records` have besides content. Begins anywhere and wraps.
    static func content(ofBytes bytes: UInt64, records: UInt64) -> UInt64 {
        bytes &- records &* UInt64(RecordLayout.overhead)
    }

    mutating func resume(at position: UInt64) { self.content = position &- (self.position &- self.content) }

    /// - Parameters:
    ///   - sequence: the number of the next record now.
    ///   - bytes: given to TCP until now.
    func isComplete(sequence: UInt64, bytes: UInt64) -> Bool {
        let records = sequence &- self.firstSequence
        return bytes &- self.firstBytes >= self.content &+ records &* UInt64(RecordLayout.overhead)
    }
}

/// Whether a record fits into a pipe (trap T2). Splicing from kernel TLS into a pipe that is nearly full drops the part
/// of the record that does not fit, without an error.
struct PipeRoom: Equatable {
    /// Pages that one record may take.
    static let perRecord = 6
    /// Below this many pages a pipe is not worth it, and not safe.
    static let least = 8

    let slots: Int
    private(set) var used: Int

    init(slots: Int, used: Int = 0) {
        self.slots = slots
        self.used = used
    }

    var isEnough: Bool { self.slots - self.used >= Self.perRecord }

    /// A record of `count` bytes went in. Its bytes begin behind the header, so it may touch a page more than it fills.
    mutating func took(_ count: Int) { self.used += (count + RecordLayout.header + 4095) / 4096 + 1 }

    /// The pipe is empty.
    mutating func drained() { self.used = 0 }
}

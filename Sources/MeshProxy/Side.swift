// SPDX-License-Identifier: Apache-2.0

/// One socket of a connection, and the flow of bytes that are read from it towards the other side.
///
/// Sides lie in pairs in a ``SideTable``: the client's at an even index, the server's behind it, so that the other side
/// of `i` is `i ^ 1`.
struct Side {
    struct Flags: OptionSet {
        let rawValue: UInt16
        /// Bytes, FIN or an error may wait; cleared by EAGAIN.
        static let readable = Self(rawValue: 1 << 0)
        /// The socket takes bytes; cleared by EAGAIN.
        static let writable = Self(rawValue: 1 << 1)
        /// FIN, RST or urgent data arrived, maybe behind bytes: a short read does not mean "empty" any more.
        static let hangUp = Self(rawValue: 1 << 2)
        /// epoll told of an error.
        static let failed = Self(rawValue: 1 << 3)
        /// Carries TLS records.
        static let tunnel = Self(rawValue: 1 << 4)
        /// The end of the stream was read.
        static let ended = Self(rawValue: 1 << 5)
        /// The end was passed on to the other side.
        static let flushed = Self(rawValue: 1 << 6)
        /// close_notify was sealed for the other side.
        static let closeSealed = Self(rawValue: 1 << 7)
        /// Bytes come in bulk: plain ones go through a pipe, those for a tunnel a batch at a time.
        static let bulk = Self(rawValue: 1 << 8)
        /// close_notify was read.
        static let closeReceived = Self(rawValue: 1 << 10)
        /// connect(2) has not ended yet.
        static let connecting = Self(rawValue: 1 << 9)
        /// A write has failed and told the socket's error: what reads like an end behind it is none.
        static let broken = Self(rawValue: 1 << 11)
        /// A workload's bytes per second are limited.
        static let metered = Self(rawValue: 1 << 12)
        /// Reads stop at the end of a TLS record, because the kernel may take over there.
        static let exactReads = Self(rawValue: 1 << 13)
        /// The peer has sent TCP urgent data: reads stop in front of it with bytes behind it.
        static let urgent = Self(rawValue: 1 << 14)
        /// Others may have the socket too, for the case that this process dies: closing it here does not end it.
        static let kept = Self(rawValue: 1 << 15)
    }

    var fd: CInt = -1
    /// Grows with each socket that takes this place, so that late events of an older one are told apart.
    var generation: UInt32 = 0
    var flags: Flags = []
    /// Of the loop's ``PipePool``; -1: none lent.
    var pipe: Int32 = -1
    var bytesInPipe: Int32 = 0
    /// Of them, those that are counted in `bytes` already.
    var spilled: Int32 = 0
    /// Bytes on the way to the other side, lent by the loop's ``BlockPool``.
    var block: UnsafeMutablePointer<Block>?
    /// Payload that the other side took.
    var bytes: UInt64 = 0
    var connection: Unmanaged<Connection>?
    /// The earliest time at which the loop's timers will look at whatever connection is here then; 0: never. Of a
    /// client's side; it stays when the connection goes.
    var timerAt: UInt64 = 0
}

/// The sides of a loop's connections at stable addresses.
struct SideTable: ~Copyable {
    private static let chunkSize = 512

    private var chunks: [UnsafeMutablePointer<Side>] = []
    private var free: [UInt32] = []
    private(set) var inUse = 0

    /// Sides there is room for.
    var capacity: Int { self.chunks.count * Self.chunkSize }

    deinit {
        for chunk in self.chunks { chunk.deallocate() }
    }

    /// The index of a pair's client side.
    mutating func take() -> UInt32 {
        if self.free.isEmpty {
            let chunk = UnsafeMutablePointer<Side>.allocate(capacity: Self.chunkSize)
            chunk.initialize(repeating: Side(), count: Self.chunkSize)
            let first = UInt32(self.capacity)
            self.chunks.append(chunk)
            for index in stride(from: Self.chunkSize - 2, through: 0, by: -2) {
                self.free.append(first + UInt32(index))
            }
        }
        self.inUse += 1
        return self.free.removeLast()
    }

    mutating func give(_ index: UInt32) {
        self.inUse -= 1
        self.free.append(index)
    }

    /// The side at an index below ``capacity``.
    @inline(__always)
    subscript(_ index: UInt32) -> UnsafeMutablePointer<Side> {
        self.chunks[Int(index) / Self.chunkSize] + Int(index) % Self.chunkSize
    }
}

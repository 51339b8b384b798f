// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshTunnel

/// A buffer that a loop lends to a flow while bytes are in it. Three kinds of content, each a range of `base`:
/// - `start ..< end`: bytes that can be sent as they are;
/// - `vector[firstRange ..< rangeCount]`: ranges of opened content to be sent;
/// - `tailStart ..< tailEnd`: received records that are not opened yet, the last one maybe not complete.
struct Block {
    /// Ranges in the vector: what a full large block can give when short records are moved together.
    static let rangeLimit = 160

    let base: UnsafeMutableRawPointer
    let vector: UnsafeMutablePointer<iovec>
    let capacity: Int
    let isLarge: Bool
    var start = 0
    var end = 0
    var firstRange = 0
    var rangeCount = 0
    var tailStart = 0
    var tailEnd = 0
    /// The workload it is lent to, by slot; 0: nobody's.
    var owner: UInt16 = 0

    var hasBytes: Bool { self.start < self.end }
    var hasRanges: Bool { self.firstRange < self.rangeCount }
    var tailCount: Int { self.tailEnd - self.tailStart }

    /// Drops `count` sent bytes from the front of the ranges.
    mutating func consumeRanges(_ count: Int) {
        var left = count
        while left > 0, self.hasRanges {
            let range = self.vector + self.firstRange
            if range.pointee.iov_len > left {
                range.pointee.iov_base += left
                range.pointee.iov_len -= left
                return
            }
            left -= range.pointee.iov_len
            self.firstRange += 1
        }
    }
}

/// A loop's blocks. Free ones are used again last in, first out, so that they are warm in the cache.
struct BlockPool: ~Copyable {
    /// Records in a large block.
    let batch: Int
    private let lentLimit: Int
    private var freeLarge: [UnsafeMutablePointer<Block>] = []
    private var freeSmall: [UnsafeMutablePointer<Block>] = []
    private var lentLarge = 0
    private(set) var lent = 0
    /// Large blocks that one workload may have.
    private let ownerLimit: Int
    /// Large blocks of each workload, by slot.
    private var lentByOwner: [Int] = [0]
    /// The workload that blocks are lent to now; 0: nobody, who has no limit of his own.
    var owner: UInt16 = 0
    /// The least free blocks since the last ``trim()``: nothing has needed these.
    private var unneededLarge = 0
    private var unneededSmall = 0
    /// Only small blocks are lent for now.
    var isThrifty = false

    /// - Parameters:
    ///   - batch: records in a large block.
    ///   - lentLimit: large blocks lent at one time; beyond it small ones are lent.
    ///   - ownerLimit: how many of them to one workload.
    init(batch: Int, lentLimit: Int, ownerLimit: Int = .max) {
        self.batch = max(1, batch)
        self.ownerLimit = max(2, ownerLimit)
        self.lentLimit = max(2, lentLimit)
    }

    deinit {
        for block in self.freeLarge + self.freeSmall { Self.deallocate(block) }
    }

    /// A block for a batch, or for one record when too many are lent.
    @inline(__always)
    mutating func take() -> UnsafeMutablePointer<Block> {
        let owner = Int(self.owner)
        if self.lentLarge >= self.lentLimit || self.isThrifty { return self.takeSmall() }
        if owner >= self.lentByOwner.count {
            self.lentByOwner += Array(repeating: 0, count: owner + 1 - self.lentByOwner.count)
        }
        if owner > 0, self.lentByOwner[owner] >= self.ownerLimit { return self.takeSmall() }
        self.lentByOwner[owner] += 1
        self.lent += 1
        self.lentLarge += 1
        // Room for a whole batch behind a partly received record.
        let block =
            self.freeLarge.popLast()
            ?? Self.allocate(self.batch * RecordLayout.stride + RecordLayout.longest, isLarge: true)
        self.unneededLarge = min(self.unneededLarge, self.freeLarge.count)
        block.pointee.owner = self.owner
        return block
    }

    /// A block for what an adopted connection brings, whatever the limits say: it was lent before.
    mutating func take(holding count: Int) -> UnsafeMutablePointer<Block> {
        if count <= Self.smallCapacity { return self.takeSmall() }
        self.lent += 1
        self.lentLarge += 1
        self.lentByOwner[0] += 1
        return Self.allocate(max(count, self.batch * RecordLayout.stride + RecordLayout.longest), isLarge: true)
    }

    private static let smallCapacity = RecordLayout.longest + TunnelSession.controlLength

    /// A block with room for one record.
    mutating func takeSmall() -> UnsafeMutablePointer<Block> {
        self.lent += 1
        if let block = self.freeSmall.popLast() {
            self.unneededSmall = min(self.unneededSmall, self.freeSmall.count)
            return block
        }
        return Self.allocate(Self.smallCapacity, isLarge: false)
    }

    @inline(__always)
    mutating func give(_ block: UnsafeMutablePointer<Block>) {
        self.lent -= 1
        if block.pointee.isLarge {
            self.lentLarge -= 1
            self.lentByOwner[Int(block.pointee.owner)] -= 1
            Self.reset(block)
            // Keep what a busy moment needs again, not what a rush once took.
            if self.freeLarge.count < 16 { self.freeLarge.append(block) } else { Self.deallocate(block) }
        } else {
            Self.reset(block)
            if self.freeSmall.count < 64 { self.freeSmall.append(block) } else { Self.deallocate(block) }
        }
    }

    /// More is kept than a quiet loop needs.
    var hasSpare: Bool { self.freeLarge.count > 1 || self.freeSmall.count > 1 }

    /// Frees what nothing has needed since the last call.
    ///
    /// - Returns: whether that was anything.
    mutating func trim() -> Bool {
        let (large, small) = (
            min(self.unneededLarge, self.freeLarge.count), min(self.unneededSmall, self.freeSmall.count)
        )
        for block in self.freeLarge.prefix(large) { Self.deallocate(block) }
        for block in self.freeSmall.prefix(small) { Self.deallocate(block) }
        self.freeLarge.removeFirst(large)
        self.freeSmall.removeFirst(small)
        // One stays for the next byte.
        self.unneededLarge = max(0, self.freeLarge.count - 1)
        self.unneededSmall = max(0, self.freeSmall.count - 1)
        return large + small > 0
    }

    @inline(__always)
    private static func reset(_ block: UnsafeMutablePointer<Block>) {
        block.pointee.start = 0
        block.pointee.end = 0
        block.pointee.firstRange = 0
        block.pointee.rangeCount = 0
        block.pointee.tailStart = 0
        block.pointee.tailEnd = 0
    }

    private static func allocate(_ capacity: Int, isLarge: Bool) -> UnsafeMutablePointer<Block> {
        let block = UnsafeMutablePointer<Block>.allocate(capacity: 1)
        block.initialize(
            to: Block(
                base: .allocate(byteCount: capacity, alignment: 64), vector: .allocate(capacity: Block.rangeLimit),
                capacity: capacity, isLarge: isLarge))
        return block
    }

    private static func deallocate(_ block: UnsafeMutablePointer<Block>) {
        block.pointee.base.deallocate()
        block.pointee.vector.deallocate()
        block.deallocate()
    }
}

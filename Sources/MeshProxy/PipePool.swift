// SPDX-License-Identifier: Apache-2.0
import Glibc
import MeshLinux

/// A loop's pipes, lent to a flow while it splices.
struct PipePool: ~Copyable {
    struct Ends {
        var read: CInt
        var write: CInt
        /// The workload it is lent to, by slot; 0: nobody's.
        var owner: UInt16 = 0
        /// Pages it can hold.
        var slots: Int
        /// Which pipe of this loop it is, counted from 1.
        var serial: UInt64 = 0
    }

    let ledger: PipeLedger

    private let size: Int
    private let limit: Int
    /// Pipes that one workload may have.
    private let ownerLimit: Int
    private var lentByOwner: [Int] = [0]
    /// The workload that pipes are lent to now; 0: nobody, who has no limit of his own.
    var owner: UInt16 = 0
    /// None is lent for now.
    var isThrifty = false
    private var ends: [Ends] = []
    private var free: [Int32] = []
    /// Places whose pipe was thrown away when the system gave no other.
    private var empty: [Int32] = []

    /// The serial number of the pipe that came last.
    private(set) var newest: UInt64 = 0

    var lent: Int { self.ends.count - self.free.count - self.empty.count }

    init(size: Int, limit: Int, ownerLimit: Int = .max) throws(SystemError) {
        self.ledger = try PipeLedger()
        self.size = size
        self.ownerLimit = max(1, ownerLimit)
        self.limit = max(0, limit)
    }

    deinit {
        for ends in self.ends where ends.read >= 0 {
            Linux.close(ends.read)
            Linux.close(ends.write)
        }
    }

    /// An empty pipe; nil when all are lent or the system gives no more.
    ///
    /// - Parameter holder: the flow that it is lent to, see ``PipeLedger``.
    mutating func take(for holder: UInt64) -> Int32? {
        let owner = Int(self.owner)
        if self.isThrifty { return nil }
        if owner >= self.lentByOwner.count {
            self.lentByOwner += Array(repeating: 0, count: owner + 1 - self.lentByOwner.count)
        }
        if owner > 0, self.lentByOwner[owner] >= self.ownerLimit { return nil }
        guard let pipe = self.free.popLast() ?? self.make() else { return nil }
        self.lentByOwner[owner] += 1
        self.ends[Int(pipe)].owner = self.owner
        // Before the first byte is in it.
        self.ledger.note(holder: holder, at: pipe)
        return pipe
    }

    private mutating func make() -> Int32? {
        guard self.ends.count < self.limit || !self.empty.isEmpty, let fresh = Self.make(self.size) else { return nil }
        return self.place(fresh, at: self.empty.popLast())
    }

    /// Puts a pipe where there is none; nil: behind the others.
    private mutating func place(_ ends: Ends, at empty: Int32?) -> Int32 {
        self.newest += 1
        let place = empty ?? Int32(self.ends.count)
        if empty == nil { self.ends.append(ends) } else { self.ends[Int(place)] = ends }
        self.ends[Int(place)].serial = self.newest
        self.ledger.note(serial: self.newest, at: place)
        return place
    }

    /// Places of pipes, not all of which have one.
    var places: Int { self.ends.count }

    // MARK: - Handing over

    /// Gives a lent pipe away for good.
    mutating func release(_ pipe: Int32) -> Ends {
        let ends = self.ends[Int(pipe)]
        self.lentByOwner[Int(ends.owner)] -= 1
        self.ledger.note(holder: 0, at: pipe)
        self.ends[Int(pipe)] = Ends(read: -1, write: -1, slots: 0)
        self.empty.append(pipe)
        return ends
    }

    /// Lends a pipe that came with a connection, whatever the limits say: it was lent before.
    mutating func adopt(read: CInt, write: CInt, capacity: Int, for holder: UInt64) -> Int32 {
        let ends = Ends(read: read, write: write, slots: capacity / Int(getpagesize()))
        self.lentByOwner[0] += 1
        let place = self.place(ends, at: self.empty.popLast())
        self.ledger.note(holder: holder, at: place)
        return place
    }

    // MARK: - Giving back

    /// Takes a pipe back. One that is not empty is replaced, so that no byte can reach another connection.
    mutating func give(_ pipe: Int32, isEmpty: Bool) {
        self.ledger.note(holder: 0, at: pipe)
        self.lentByOwner[Int(self.ends[Int(pipe)].owner)] -= 1
        // Adopted ones may have come in addition to as many as there may be.
        let isTooMany = self.ends.count - self.empty.count > self.limit
        if !isEmpty || isTooMany {
            let old = self.ends[Int(pipe)]
            Linux.close(old.read)
            Linux.close(old.write)
            self.ends[Int(pipe)] = Ends(read: -1, write: -1, slots: 0)
            guard !isTooMany, let fresh = Self.make(self.size) else {
                self.empty.append(pipe)
                return
            }
            _ = self.place(fresh, at: pipe)
        }
        self.free.append(pipe)
    }

    private static func make(_ size: Int) -> Ends? {
        guard let pipe = try? Pipe(capacity: size) else { return nil }
        let slots = pipe.capacity / Int(getpagesize())
        let (read, write) = pipe.release()
        return Ends(read: read, write: write, slots: slots)
    }

    @inline(__always)
    subscript(_ pipe: Int32) -> Ends { self.ends[Int(pipe)] }
}

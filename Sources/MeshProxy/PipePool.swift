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
    }

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

    var lent: Int { self.ends.count - self.free.count - self.empty.count }

    init(size: Int, limit: Int, ownerLimit: Int = .max) {
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
    mutating func take() -> Int32? {
        let owner = Int(self.owner)
        if self.isThrifty { return nil }
        if owner >= self.lentByOwner.count {
            self.lentByOwner += Array(repeating: 0, count: owner + 1 - self.lentByOwner.count)
        }
        if owner > 0, self.lentByOwner[owner] >= self.ownerLimit { return nil }
        guard let pipe = self.free.popLast() ?? self.make() else { return nil }
        self.lentByOwner[owner] += 1
        self.ends[Int(pipe)].owner = self.owner
        return pipe
    }

    private mutating func make() -> Int32? {
        guard self.ends.count < self.limit || !self.empty.isEmpty, let fresh = Self.make(self.size) else { return nil }
        if let place = self.empty.popLast() {
            self.ends[Int(place)] = fresh
            return place
        }
        self.ends.append(fresh)
        return Int32(self.ends.count - 1)
    }

    // MARK: - Handing over

    /// Gives a lent pipe away for good.
    mutating func release(_ pipe: Int32) -> Ends {
        let ends = self.ends[Int(pipe)]
        self.lentByOwner[Int(ends.owner)] -= 1
        self.ends[Int(pipe)] = Ends(read: -1, write: -1, slots: 0)
        self.empty.append(pipe)
        return ends
    }

    /// Lends a pipe that came with a connection, whatever the limits say: it was lent before.
    mutating func adopt(read: CInt, write: CInt, capacity: Int) -> Int32 {
        let ends = Ends(read: read, write: write, slots: capacity / Int(getpagesize()))
        self.lentByOwner[0] += 1
        if let place = self.empty.popLast() {
            self.ends[Int(place)] = ends
            return place
        }
        self.ends.append(ends)
        return Int32(self.ends.count - 1)
    }

    // MARK: - Giving back

    /// Takes a pipe back. One that is not empty is replaced, so that no byte can reach another connection.
    mutating func give(_ pipe: Int32, isEmpty: Bool) {
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
            self.ends[Int(pipe)] = fresh
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

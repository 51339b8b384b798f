// SPDX-License-Identifier: Apache-2.0
import MeshLinux

/// A loop's pipes, lent to a flow while it splices.
struct PipePool: ~Copyable {
    struct Ends {
        var read: CInt
        var write: CInt
    }

    private let size: Int
    private let limit: Int
    private var ends: [Ends] = []
    private var free: [Int32] = []

    var lent: Int { self.ends.count - self.free.count }

    init(size: Int, limit: Int) {
        self.size = size
        self.limit = max(0, limit)
    }

    deinit {
        for ends in self.ends {
            Linux.close(ends.read)
            Linux.close(ends.write)
        }
    }

    /// An empty pipe; nil when all are lent or the system gives no more.
    mutating func take() -> Int32? {
        if let pipe = self.free.popLast() { return pipe }
        guard self.ends.count < self.limit, let pipe = try? Pipe(capacity: self.size) else { return nil }
        let (read, write) = pipe.release()
        self.ends.append(Ends(read: read, write: write))
        return Int32(self.ends.count - 1)
    }

    /// Takes a pipe back. One that is not empty is replaced, so that no byte can reach another connection.
    mutating func give(_ pipe: Int32, isEmpty: Bool) {
        if !isEmpty {
            let old = self.ends[Int(pipe)]
            Linux.close(old.read)
            Linux.close(old.write)
            // Without a new one the place stays, with descriptors that every call refuses.
            self.ends[Int(pipe)] = Ends(read: -1, write: -1)
            guard let fresh = try? Pipe(capacity: self.size) else { return }
            let (read, write) = fresh.release()
            self.ends[Int(pipe)] = Ends(read: read, write: write)
        }
        self.free.append(pipe)
    }

    @inline(__always)
    subscript(_ pipe: Int32) -> Ends { self.ends[Int(pipe)] }
}

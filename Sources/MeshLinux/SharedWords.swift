// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// Numbers in memory that outlives the process: who has its descriptor reads, after a kill(2) too, what was stored last.
/// One thread stores.
package struct SharedWords: ~Copyable {
    /// To be given away as a copy.
    package let memory: FileDescriptor
    package let count: Int
    private let words: UnsafeMutablePointer<UInt64>

    /// `count` zeros. Pages are taken as they are written to.
    package init(name: String, count: Int) throws(SystemError) {
        var fd: CInt = -1
        let size = count * MemoryLayout<UInt64>.stride
        guard let memory = nm_shared_memory(name, size, &fd), memory != MAP_FAILED else {
            throw SystemError(call: "memfd_create", errno: errno)
        }
        self.memory = FileDescriptor(owning: fd)
        self.count = count
        self.words = memory.bindMemory(to: UInt64.self, capacity: count)
    }

    deinit { munmap(self.words, self.count * MemoryLayout<UInt64>.stride) }

    /// Stores are seen in their order, whenever the process ends. An index beyond the count is ignored.
    @inline(__always)
    package borrowing func store(_ value: UInt64, at index: Int) {
        if index < self.count { nm_store_release(self.words + index, value) }
    }

    /// The first words of another process's memory, as many as there are up to `limit`. Read, not mapped: a file that
    /// is cut short does no harm.
    package static func read(_ fd: CInt, limit: Int) throws(SystemError) -> [UInt64] {
        var words = [UInt64](repeating: 0, count: limit)
        var done = 0
        let size = limit * MemoryLayout<UInt64>.stride
        while done < size {
            let at = done
            let count = try systemCall("pread") {
                words.withUnsafeMutableBytes { pread(fd, $0.baseAddress.map { $0 + at }, size - at, off_t(at)) }
            }
            if count == 0 { break }
            done += count
        }
        return Array(words.prefix(done / MemoryLayout<UInt64>.stride))
    }
}

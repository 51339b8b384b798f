// SPDX-License-Identifier: Apache-2.0
import MeshLinux

/// Says in memory that outlives this process which flow each of a loop's pipes is lent to: written when a pipe is lent and
/// when it is given back, not per byte.
struct PipeLedger: ~Copyable {
    /// Pipes beyond are lent without being noted; their bytes count as lost.
    static let places = 1 << 12

    private static let isLive = 0
    private static let first = 2

    private let words: SharedWords

    init() throws(SystemError) {
        self.words = try SharedWords(name: "nodemesh-pipes", count: Self.first + 2 * Self.places)
        self.words.store(1, at: Self.isLive)
    }

    /// To be given away as a copy.
    var memory: CInt { self.words.memory.raw }

    /// Another pipe is at that place.
    func note(serial: UInt64, at place: Int32) {
        self.words.store(0, at: Self.index(place) + 1)
        self.words.store(serial, at: Self.index(place))
    }

    /// - Parameter holder: see ``holder(of:isServer:)``; 0: nobody.
    @inline(__always)
    func note(holder: UInt64, at place: Int32) { self.words.store(holder, at: Self.index(place) + 1) }

    /// From now on what it says is out of date: the pipes are another process's.
    func end() { self.words.store(0, at: Self.isLive) }

    private static func index(_ place: Int32) -> Int { Self.first + 2 * Int(place) }

    /// The flow of what is read from one side of a connection.
    static func holder(of connection: UInt64, isServer: Bool) -> UInt64 { connection << 1 | (isServer ? 1 : 0) }

    // MARK: - Reading

    /// What a process that ended has left: to whom the pipe at each place is lent.
    ///
    /// - Parameter places: to read.
    /// - Returns: nil when it has ended in order, so that the pipes are no longer its own.
    static func read(_ memory: CInt, places: Int) throws(SystemError) -> [(serial: UInt64, holder: UInt64)]? {
        let limit = Self.first + 2 * min(max(0, places), Self.places)
        let words = try SharedWords.read(memory, limit: limit)
        guard words.count == limit, words[Self.isLive] == 1 else { return nil }
        return stride(from: Self.first, to: limit, by: 2).map { (words[$0], words[$0 + 1]) }
    }
}

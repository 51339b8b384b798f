// SPDX-License-Identifier: Apache-2.0

/// Answers of resolvers, for as long as they say; the least recently used go first. Bounded in entries and bytes.
package struct AnswerCache {
    /// Who asks whom decides what is true: resolvers may know different things by one name.
    package struct Key: Hashable, Sendable {
        /// Whose answer it is; nil: of the node's resolvers.
        package let resolver: Upstream?
        package let name: DNSName
        package let type: RecordType
        package let `class`: UInt16
        package let wantsSecurity: Bool
        package let disablesChecking: Bool

        package init(_ query: DNSQuery, of resolver: Upstream?) {
            self.resolver = resolver
            self.name = query.question.name
            self.type = query.question.type
            self.class = query.question.class
            self.wantsSecurity = query.edns?.wantsSecurity ?? false
            self.disablesChecking = query.flags.contains(.checkingDisabled)
        }
    }

    private struct Entry {
        var key: Key
        var response: DNSResponse
        /// Nanoseconds of the monotonic clock.
        var stored: UInt64
        var lifetime: UInt32
        /// Neighbours by use, -1 at the ends.
        var newer: Int
        var older: Int
    }

    /// Beyond this an answer is not kept.
    private static let maximumBytes = 8_192
    /// So much for each entry, on average.
    private static let bytesEach = 1_024
    private static let second: UInt64 = 1_000_000_000

    private let capacity: Int
    /// Seconds beyond its lifetime for which an answer is kept for want of another (RFC 8767).
    private let staleLifetime: UInt32
    private var entries: [Entry?] = []
    private var free: [Int] = []
    private var index: [Key: Int] = [:]
    private var newest = -1
    private var oldest = -1
    package private(set) var byteCount = 0

    package init(capacity: Int, staleLifetime: UInt32) {
        self.capacity = capacity
        self.staleLifetime = staleLifetime
    }

    package var count: Int { self.index.count }

    /// - Parameter isStale: wanted are answers that are past their time too.
    package mutating func lookup(_ key: Key, now: UInt64, isStale: Bool = false) -> (
        response: DNSResponse, age: UInt32
    )? {
        guard let place = self.index[key], let entry = self.entries[place] else { return nil }
        let age = UInt32(clamping: (now &- entry.stored) / Self.second)
        if age >= entry.lifetime &+ self.staleLifetime {
            self.remove(place)
            return nil
        }
        guard isStale || age < entry.lifetime else { return nil }
        self.unlink(place)
        self.link(place)
        return (entry.response, age)
    }

    package mutating func store(_ response: DNSResponse, for key: Key, now: UInt64) {
        guard let lifetime = response.lifetime, lifetime > 0, self.capacity > 0,
            response.bytes.count <= Self.maximumBytes
        else { return }
        if let place = self.index[key] { self.remove(place) }
        while self.index.count >= self.capacity
            || (self.byteCount + response.bytes.count > self.capacity * Self.bytesEach && self.oldest >= 0)
        {
            self.remove(self.oldest)
        }
        let entry = Entry(key: key, response: response, stored: now, lifetime: lifetime, newer: -1, older: -1)
        let place: Int
        if let last = self.free.popLast() {
            place = last
            self.entries[place] = entry
        } else {
            place = self.entries.count
            self.entries.append(entry)
        }
        self.index[key] = place
        self.byteCount += response.bytes.count
        self.link(place)
    }

    package mutating func removeAll() { self = Self(capacity: self.capacity, staleLifetime: self.staleLifetime) }

    private mutating func remove(_ place: Int) {
        guard let entry = self.entries[place] else { return }
        self.unlink(place)
        self.index[entry.key] = nil
        self.byteCount -= entry.response.bytes.count
        self.entries[place] = nil
        self.free.append(place)
    }

    /// Makes it the newest.
    private mutating func link(_ place: Int) {
        self.entries[place]?.older = self.newest
        self.entries[place]?.newer = -1
        if self.newest >= 0 { self.entries[self.newest]?.newer = place }
        self.newest = place
        if self.oldest < 0 { self.oldest = place }
    }

    private mutating func unlink(_ place: Int) {
        guard let entry = self.entries[place] else { return }
        if entry.newer >= 0 { self.entries[entry.newer]?.older = entry.older } else { self.newest = entry.older }
        if entry.older >= 0 { self.entries[entry.older]?.newer = entry.newer } else { self.oldest = entry.newer }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// The expanded keys of the sessions that moved bytes last, so that an idle session owns none. One per loop.
package struct AEADContextPool: ~Copyable {
    private struct Entry {
        var context: UnsafeMutableRawPointer?
        var destroy: @convention(c) (UnsafeMutableRawPointer) -> Void
        /// Which ``TrafficKeys`` it holds; 0: none.
        var key: UInt64 = 0
        /// Used since the last ``AEADContextPool/trim()``.
        var isWarm = false
    }

    private let provider: AEADProvider
    private let entries: UnsafeMutableBufferPointer<Entry>
    private var hand = 0
    private var lastKey: UInt64 = 0

    package init(provider: AEADProvider, capacity: Int) {
        self.provider = provider
        self.entries = .allocate(capacity: max(2, capacity))
        self.entries.initialize(repeating: Entry(context: nil, destroy: provider.destroy))
    }

    deinit {
        for entry in self.entries { if let context = entry.context { entry.destroy(context) } }
        self.entries.deallocate()
    }

    /// OpenSSL for what the fast provider does not have.
    @inline(__always)
    func provider(for suite: CipherSuite) -> AEADProvider {
        suite == .chaCha20Poly1305 ? .openSSL : self.provider
    }

    /// The expanded form of `keys`, valid until the next call; nil when out of memory.
    @inline(__always)
    mutating func context(for keys: inout TrafficKeys) -> UnsafeMutableRawPointer? {
        let slot = Int(keys.poolSlot)
        if keys.poolKey != 0, self.entries[slot].key == keys.poolKey {
            self.entries[slot].isWarm = true
            return self.entries[slot].context
        }
        return self.expand(&keys)
    }

    /// Forgets the keys that no record has needed since the last call.
    ///
    /// - Returns: whether there were any.
    package mutating func trim() -> Bool {
        var isTrimmed = false
        for index in self.entries.indices {
            let entry = self.entries[index]
            self.entries[index].isWarm = false
            guard !entry.isWarm, let context = entry.context else { continue }
            entry.destroy(context)
            self.entries[index].context = nil
            self.entries[index].key = 0
            isTrimmed = true
        }
        return isTrimmed
    }

    @inline(never)
    private mutating func expand(_ keys: inout TrafficKeys) -> UnsafeMutableRawPointer? {
        // Round robin is near enough to least recently used: a session thrown out too early pays a microsecond.
        self.hand = (self.hand + 1) % self.entries.count
        let old = self.entries[self.hand]
        if let context = old.context { old.destroy(context) }
        let provider = self.provider(for: keys.suite)
        var key = keys.key
        let context = withUnsafeBytes(of: &key) { key in
            key.baseAddress.flatMap {
                provider.create(keys.suite.rawValue, $0.assumingMemoryBound(to: UInt8.self))
            }
        }
        wipe(&key)
        self.lastKey += 1
        self.entries[self.hand] = Entry(
            context: context, destroy: provider.destroy, key: context == nil ? 0 : self.lastKey,
            isWarm: true)
        keys.poolSlot = Int32(truncatingIfNeeded: self.hand)
        keys.poolKey = context == nil ? 0 : self.lastKey
        return context
    }
}

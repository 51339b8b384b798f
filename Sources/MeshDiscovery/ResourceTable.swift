// SPDX-License-Identifier: Apache-2.0

import DequeModule

/// The resources of one type, and which of them changed lately: what a stream must look at is proportional to the
/// change, not to the table.
package struct ResourceTable: Sendable {
    package private(set) var resources: [String: DiscoveryResource] = [:]
    /// Grows with every change.
    package private(set) var generation: UInt64 = 0
    private var log: Deque<(generation: UInt64, name: String)> = []
    private let logLength: Int

    package init(logLength: Int) { self.logLength = max(0, logLength) }

    /// Makes the table hold exactly these. Of two with one name the later counts.
    ///
    /// - Returns: whether anything changed.
    package mutating func replace(with new: [DiscoveryResource]) -> Bool {
        let new = Dictionary(new.map { ($0.name, $0) }, uniquingKeysWith: { $1 })
        return self.update(
            upserting: Array(new.values), removing: self.resources.keys.filter { new[$0] == nil })
    }

    /// Adds or replaces some and removes others.
    ///
    /// - Returns: whether anything changed.
    package mutating func update(upserting: [DiscoveryResource], removing: [String]) -> Bool {
        var changed: [String] = []
        for resource in upserting where self.resources[resource.name] != resource {
            self.resources[resource.name] = resource
            changed.append(resource.name)
        }
        for name in removing where self.resources.removeValue(forKey: name) != nil { changed.append(name) }
        guard !changed.isEmpty else { return false }
        self.generation += 1
        for name in changed { self.log.append((self.generation, name)) }
        // Whole generations only, so that the log is never partly there for one.
        while self.log.count > self.logLength, let oldest = self.log.first?.generation {
            while self.log.first?.generation == oldest { self.log.removeFirst() }
        }
        return true
    }

    /// The names that changed after a generation; nil when that is not known any more and everything must be compared.
    package func changes(after generation: UInt64) -> [String]? {
        if generation == self.generation { return [] }
        guard generation < self.generation, let first = self.log.first, first.generation <= generation + 1
        else { return nil }
        var names: [String] = []
        for entry in self.log.reversed() {
            if entry.generation <= generation { break }
            names.append(entry.name)
        }
        return names
    }
}

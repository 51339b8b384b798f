// SPDX-License-Identifier: Apache-2.0

/// A loop's ``TunnelDestination``s. Bounded: beyond the limit those go that nothing has used for longest.
struct TunnelDestinations {
    private let limit: Int
    private(set) var all: [TunnelDestination.Key: TunnelDestination] = [:]

    init(limit: Int) { self.limit = max(16, limit) }

    /// The destination for a key; made when it is not known.
    mutating func destination(
        _ key: TunnelDestination.Key, now: UInt64, make: () -> TunnelDestination
    ) -> TunnelDestination {
        if let known = self.all[key] { return known }
        if self.all.count >= self.limit { self.makeRoom() }
        let destination = make()
        self.all[key] = destination
        return destination
    }

    /// Forgets those for which `isUnwanted`; the caller has closed their tunnels.
    mutating func removeAll(where isUnwanted: (TunnelDestination) -> Bool) {
        for (key, destination) in self.all where isUnwanted(destination) { self.all[key] = nil }
    }

    /// Drops the older half of those that hold no tunnel: what is lost is a session to resume.
    private mutating func makeRoom() {
        let free = self.all.values.filter { $0.idle.isEmpty && $0.beingMade == 0 }.sorted { $0.lastUse < $1.lastUse }
        for destination in free.prefix(max(1, free.count / 2)) { self.all[destination.key] = nil }
    }
}

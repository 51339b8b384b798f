// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// What is known of an endpoint at the moment of a choice.
struct EndpointSignal: Equatable {
    /// Microseconds that setting up a connection takes, by ``LatencyEstimate``.
    var latency: UInt32 = 0
    /// Connections of this node to it, open or being made.
    var open = 0
    /// Its share of connections in thousandths: see ``EndpointHealth/availability(ejectedUntil:now:)``.
    var availability: UInt64 = EndpointHealth.full
}

/// The power of two choices: two endpoints are drawn by weight, and the better one is taken. It avoids slow and loaded
/// endpoints without sending everybody to the one that looked best a moment ago.
///
/// Groups are used in order; a later one when the earlier have nothing usable. Endpoints that are set aside are used when
/// nothing else is left: a guess of ours must not turn into an outage.
struct EndpointChooser<Random: RandomNumberGenerator> {
    let set: EndpointSet
    /// An endpoint that failed for this connection already.
    let isTried: (Int) -> Bool
    let signal: (Int) -> EndpointSignal

    /// Shorter latencies (microseconds) count as this: among endpoints that are fast enough weights and load decide. To
    /// prefer near ones is what locality is for.
    private static var floor: Double { 10_000 }
    /// The second must be clearly better, else weights alone count.
    private static var margin: Double { 0.8 }
    /// In larger groups draws are repeated this many times before the whole group is looked at.
    private static var draws: Int { 4 }
    private static var smallGroup: Int { 8 }

    /// - Returns: an index into the set's endpoints; nil when all were tried.
    func choose(_ random: inout Random) -> Int? {
        if self.set.endpoints.count == 1 { return self.isTried(0) ? nil : 0 }
        for group in self.set.groups {
            if let index = self.choose(in: group, { $0.availability }, &random) { return index }
        }
        for group in self.set.groups {
            if let index = self.choose(in: group, { _ in EndpointHealth.full }, &random) { return index }
        }
        return nil
    }

    private func choose(
        in group: Range<Int>, _ availability: (EndpointSignal) -> UInt64, _ random: inout Random
    ) -> Int? {
        guard let first = self.draw(from: group, except: nil, availability, &random) else { return nil }
        if group.count == 1 { return first }
        guard let second = self.draw(from: group, except: first, availability, &random) else { return first }
        return self.cost(of: second, in: group) < Self.margin * self.cost(of: first, in: group) ? second : first
    }

    /// One usable endpoint of a group, by weight and availability.
    private func draw(
        from group: Range<Int>, except other: Int?, _ availability: (EndpointSignal) -> UInt64,
        _ random: inout Random
    ) -> Int? {
        if group.count > Self.smallGroup {
            let total = self.set.totalWeight(of: group)
            for _ in 0..<Self.draws {
                let index = self.set.index(at: UInt32.random(in: 0..<total, using: &random), in: group)
                if index == other || self.isTried(index) { continue }
                let share = availability(self.signal(index))
                if share >= EndpointHealth.full { return index }
                if share > 0, UInt64.random(in: 0..<EndpointHealth.full, using: &random) < share { return index }
            }
        }
        func weight(_ index: Int) -> UInt64 {
            if index == other || self.isTried(index) { return 0 }
            return UInt64(self.set.weight(of: index)) * availability(self.signal(index))
        }
        let total = group.reduce(UInt64(0)) { $0 + weight($1) }
        if total == 0 { return nil }
        var point = UInt64.random(in: 0..<total, using: &random)
        for index in group {
            let weight = weight(index)
            if point < weight { return index }
            point -= weight
        }
        // A signal has changed in between.
        return group.last { weight($0) > 0 }
    }

    /// The latency, times how much it carries compared with its share of the weights.
    private func cost(of index: Int, in group: Range<Int>) -> Double {
        let signal = self.signal(index)
        let share = Double(self.set.weight(of: index)) * Double(group.count) / Double(self.set.totalWeight(of: group))
        return max(Self.floor, Double(signal.latency)) * (1 + Double(max(0, signal.open)) / share)
    }
}

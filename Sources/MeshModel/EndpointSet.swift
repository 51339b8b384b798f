// SPDX-License-Identifier: Apache-2.0

/// The healthy endpoints of one service port, ready for a weighted choice.
struct EndpointSet: Sendable {
    struct Endpoint: Sendable {
        var workload: Workload
        var address: SocketAddress
        var path: Route.Path
    }

    private(set) var endpoints: [Endpoint] = []
    /// Running sums of the weights; the last one is the total.
    private var sums: [UInt32] = []
    /// A healthy endpoint that was left out since its node is not known.
    private(set) var stranded: RouteFailure?

    /// Keeps the order of `candidates`.
    init(_ candidates: [(endpoint: Endpoint, weight: UInt32)], stranded: RouteFailure?) {
        self.stranded = stranded
        // The total has to fit its type; weights are cut down together until it does.
        let total = candidates.reduce(UInt64(0)) { $0 + UInt64(max(1, $1.weight)) }
        var shift: UInt64 = 0
        while (total >> shift) + UInt64(candidates.count) > UInt64(UInt32.max) { shift += 1 }
        var sum: UInt32 = 0
        for (endpoint, weight) in candidates {
            sum += UInt32(truncatingIfNeeded: max(1, UInt64(max(1, weight)) >> shift))
            self.endpoints.append(endpoint)
            self.sums.append(sum)
        }
    }

    /// - Parameters:
    ///   - tried: endpoints that are not wanted again.
    ///   - pick: is given the total weight of the candidates and answers with a number below it.
    func choose(excluding tried: Set<WorkloadID>, _ pick: (_ totalWeight: UInt32) -> UInt32) -> Endpoint? {
        if !tried.isEmpty { return self.chooseOther(than: tried, pick) }
        guard let total = self.sums.last else { return nil }
        if self.endpoints.count == 1 { return self.endpoints[0] }
        let point = pick(total) % total
        var (low, high) = (0, self.sums.count - 1)
        while low < high {
            let middle = (low + high) / 2
            if self.sums[middle] > point { high = middle } else { low = middle + 1 }
        }
        return self.endpoints[low]
    }

    /// The rare case: a connection whose first endpoint failed.
    private func chooseOther(
        than tried: Set<WorkloadID>, _ pick: (_ totalWeight: UInt32) -> UInt32
    ) -> Endpoint? {
        let left = self.endpoints.indices.filter { !tried.contains(self.endpoints[$0].workload.id) }
        let weight = { (index: Int) in self.sums[index] - (index > 0 ? self.sums[index - 1] : 0) }
        let total = left.reduce(UInt32(0)) { $0 + weight($1) }
        guard total > 0 else { return nil }
        var point = left.count == 1 ? 0 : pick(total) % total
        for index in left {
            if point < weight(index) { return self.endpoints[index] }
            point -= weight(index)
        }
        return nil
    }
}

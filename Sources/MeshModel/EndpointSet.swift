// SPDX-License-Identifier: Apache-2.0

/// The healthy endpoints of one service port as clients of this node may use them: in groups, the preferred one first,
/// ready for a weighted choice within each.
package struct EndpointSet: Sendable {
    package struct Endpoint: Sendable {
        package var workload: Workload
        package var address: SocketAddress
        package var path: Route.Path
        /// How many of the service's preferences it has in common with the client, in their order.
        package var rank = 0
    }

    /// Unique within its snapshot.
    package let id: Int
    package let service: NamespacedName
    /// The service's, as clients dial it.
    package let port: UInt16
    package let policy: DestinationPolicy?
    /// By descending rank where ranks count, else as they came.
    package let endpoints: [Endpoint]
    /// Endpoints of one rank each, the best first. The next group is for when none of the one before can be used.
    package let groups: [Range<Int>]
    /// Running sums of the weights.
    private let sums: [UInt32]
    /// Why endpoints that are healthy were left out.
    let stranded: RouteFailure?

    /// - Parameter isRanked: ranks count, else all candidates are one group.
    init(
        id: Int, service: NamespacedName, port: UInt16, policy: DestinationPolicy? = nil,
        _ candidates: [(endpoint: Endpoint, weight: UInt32)], isRanked: Bool = false, stranded: RouteFailure? = nil
    ) {
        self.id = id
        self.service = service
        self.port = port
        self.policy = policy
        self.stranded = stranded
        var candidates = candidates
        if isRanked {
            // Stable, so that a snapshot of the same mesh has the same order.
            candidates = candidates.enumerated().sorted {
                ($1.element.endpoint.rank, $0.offset) < ($0.element.endpoint.rank, $1.offset)
            }.map(\.element)
        }
        // The total has to fit its type; weights are cut down together until it does.
        let total = candidates.reduce(UInt64(0)) { $0 + UInt64(max(1, $1.weight)) }
        var shift: UInt64 = 0
        while (total >> shift) + UInt64(candidates.count) > UInt64(UInt32.max) { shift += 1 }
        var sum: UInt32 = 0
        var sums: [UInt32] = []
        var groups: [Range<Int>] = []
        for (index, (endpoint, weight)) in candidates.enumerated() {
            sum += UInt32(truncatingIfNeeded: max(1, UInt64(max(1, weight)) >> shift))
            sums.append(sum)
            if let last = groups.last, !isRanked || candidates[last.lowerBound].endpoint.rank == endpoint.rank {
                groups[groups.count - 1] = last.lowerBound..<index + 1
            } else {
                groups.append(index..<index + 1)
            }
        }
        self.sums = sums
        self.groups = groups
        self.endpoints = candidates.map(\.endpoint)
    }

    // MARK: - Weights

    package func weight(of index: Int) -> UInt32 { self.sums[index] - (index > 0 ? self.sums[index - 1] : 0) }

    package func totalWeight(of group: Range<Int>) -> UInt32 {
        guard let last = group.last else { return 0 }
        return self.sums[last] - (group.lowerBound > 0 ? self.sums[group.lowerBound - 1] : 0)
    }

    /// The endpoint on which a number below the group's total weight falls; the group is not empty.
    package func index(at point: UInt32, in group: Range<Int>) -> Int {
        let point = point + (group.lowerBound > 0 ? self.sums[group.lowerBound - 1] : 0)
        var (low, high) = (group.lowerBound, group.upperBound - 1)
        while low < high {
            let middle = (low + high) / 2
            if self.sums[middle] > point { high = middle } else { low = middle + 1 }
        }
        return low
    }

    // MARK: - Choosing by weight alone

    /// - Parameters:
    ///   - tried: endpoints that are not wanted again.
    ///   - pick: is given the total weight of the candidates and answers with a number below it.
    func choose(excluding tried: Set<WorkloadID>, _ pick: (_ totalWeight: UInt32) -> UInt32) -> Int? {
        for group in self.groups {
            let left = tried.isEmpty ? Array(group) : group.filter { !tried.contains(self.endpoints[$0].workload.id) }
            if left.count <= 1 {
                if let only = left.first { return only }
                continue
            }
            let total = left.reduce(UInt32(0)) { $0 + self.weight(of: $1) }
            var point = pick(total) % total
            for index in left {
                if point < self.weight(of: index) { return index }
                point -= self.weight(of: index)
            }
        }
        return nil
    }
}

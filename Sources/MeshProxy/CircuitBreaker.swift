// SPDX-License-Identifier: Apache-2.0
import MeshModel
import Synchronization

/// How much this node asks of one service: its connections over all loops, against the limits of its policy. Without
/// limits it only counts, so that one that is declared later holds for what is open already.
final class CircuitBreaker: Sendable {
    /// A limit that is reached, and its figure.
    enum Refusal: Error, Equatable {
        case maxConnections(UInt32)
        case maxPending(UInt32)
        case connectsPerSecond(UInt32)

        var text: String {
            switch self {
            case .maxConnections(let limit): "\(limit) connections of this node are open, its maxConnections"
            case .maxPending(let limit): "\(limit) connections of this node are being made, its maxPending"
            case .connectsPerSecond(let limit):
                "this node makes more than \(limit) connections a second, its connectsPerSecond"
            }
        }
    }

    private let open = Atomic<Int>(0)
    private let pending = Atomic<Int>(0)
    private let connects = SharedBucket()

    var counts: (open: Int, pending: Int) {
        (self.open.load(ordering: .relaxed), self.pending.load(ordering: .relaxed))
    }

    /// Takes a connection in as one that is being made, or says which limit forbids it.
    ///
    /// - Parameter now: nanoseconds of the monotonic clock.
    func admit(_ policy: DestinationPolicy?, now: UInt64) throws(Refusal) {
        let open = self.open.wrappingAdd(1, ordering: .relaxed).newValue
        let pending = self.pending.wrappingAdd(1, ordering: .relaxed).newValue
        guard let policy else { return }
        do throws(Refusal) {
            if let limit = policy.maxConnections, open > Int(limit) { throw .maxConnections(limit) }
            if let limit = policy.maxPending, pending > Int(limit) { throw .maxPending(limit) }
            // Last, since what it takes is not given back.
            if let limit = policy.connectsPerSecond,
                limit == 0 || !self.connects.take(rate: UInt64(limit), now: now)
            {
                throw .connectsPerSecond(limit)
            }
        } catch {
            self.ended(wasPending: true)
            throw error
        }
    }

    /// Counts a connection that another data plane has admitted and made.
    func readmit() { self.open.wrappingAdd(1, ordering: .relaxed) }

    /// A connection that was admitted is made.
    func established() { self.pending.wrappingSubtract(1, ordering: .relaxed) }

    /// A connection that was admitted has ended, in whatever state it was.
    func ended(wasPending: Bool) {
        if wasPending { self.pending.wrappingSubtract(1, ordering: .relaxed) }
        self.open.wrappingSubtract(1, ordering: .relaxed)
    }
}

// SPDX-License-Identifier: Apache-2.0
import MeshModel
import Synchronization

/// What one workload of this node takes of the proxy, over all loops and in both directions, against its limits.
final class WorkloadUsage: Sendable {
    /// A limit that is reached, and its figure.
    enum Refusal: Error, Equatable {
        case maxConnections(UInt32)
        case connectionsPerSecond(UInt32)
        case handshakesPerSecond(UInt32)

        var text: String {
            switch self {
            case .maxConnections(let limit): "\(limit) connections are open, its maxConnections"
            case .connectionsPerSecond(let limit):
                "more than \(limit) new connections a second, its connectionsPerSecond"
            case .handshakesPerSecond(let limit): "more than \(limit) TLS handshakes a second, its handshakesPerSecond"
            }
        }
    }

    private let open = Atomic<Int>(0)
    private let connects = SharedBucket()
    private let handshakes = SharedBucket()
    private let bytes = SharedBucket()
    private let limits = Mutex<WorkloadLimits?>(nil)
    /// So that a workload without limits costs a load and a branch.
    private let hasLimits = Atomic<Bool>(false)
    /// 0: no limit.
    private let byteRate = Atomic<UInt64>(0)

    var openCount: Int { self.open.load(ordering: .relaxed) }
    var bytesPerSecond: UInt64 { self.byteRate.load(ordering: .relaxed) }

    func update(_ limits: WorkloadLimits?) {
        self.limits.withLock { $0 = limits }
        self.hasLimits.store(limits != nil, ordering: .relaxed)
        let rate = limits?.bytesPerSecond.map { max(1, $0) } ?? 0
        // A debt is a time; at another rate it would be another one.
        if self.byteRate.exchange(rate, ordering: .relaxed) != rate { self.bytes.fill() }
    }

    private var current: WorkloadLimits? {
        self.hasLimits.load(ordering: .relaxed) ? self.limits.withLock { $0 } : nil
    }

    /// Takes a connection in, or says which limit forbids it.
    ///
    /// - Parameter now: nanoseconds of the monotonic clock, as everywhere here.
    func admit(now: UInt64) throws(Refusal) {
        let open = self.open.wrappingAdd(1, ordering: .relaxed).newValue
        guard let limits = self.current else { return }
        do throws(Refusal) {
            if let limit = limits.maxConnections, open > Int(limit) { throw .maxConnections(limit) }
            // Last, since what it takes is not given back.
            if let limit = limits.connectionsPerSecond,
                limit == 0 || !self.connects.take(rate: UInt64(limit), now: now)
            {
                throw .connectionsPerSecond(limit)
            }
        } catch {
            self.ended()
            throw error
        }
    }

    /// Counts a connection that another data plane has admitted.
    func readmit() { self.open.wrappingAdd(1, ordering: .relaxed) }

    /// A connection that was admitted has ended.
    func ended() { self.open.wrappingSubtract(1, ordering: .relaxed) }

    func admitHandshake(now: UInt64) throws(Refusal) {
        guard let limit = self.current?.handshakesPerSecond else { return }
        if limit > 0, self.handshakes.take(rate: UInt64(limit), now: now) { return }
        throw .handshakesPerSecond(limit)
    }

    // MARK: - Bytes

    func spend(_ count: UInt64, now: UInt64) {
        let rate = self.bytesPerSecond
        if rate > 0 { self.bytes.spend(count, rate: rate, now: now) }
    }

    /// Nanoseconds until bytes may move; 0: now.
    func wait(now: UInt64) -> UInt64 { self.bytesPerSecond == 0 ? 0 : self.bytes.wait(now: now) }
}

// SPDX-License-Identifier: Apache-2.0
import MeshModel
import Synchronization

/// One endpoint of one service port, as all loops see it.
final class EndpointState: Sendable {
    let key: EndpointTable.Key
    let service: ServiceState
    /// To the endpoint's node when connections go through its tunnel port, which many endpoints share; else the
    /// endpoint's own way.
    let path: PathState
    /// From the CONNECT to its answer: what the endpoint itself adds. Stays empty without a tunnel.
    private let answer = PathState()
    private let open = Atomic<Int>(0)
    /// A copy of the health's, to be read without its lock.
    private let ejectedUntil = Atomic<UInt64>(0)
    private let hasFailures = Atomic<Bool>(false)
    private let isOther = Atomic<Bool>(false)
    /// Locked only when something fails, or goes well for the first time after that.
    private let health = Mutex(EndpointHealth())

    init(key: EndpointTable.Key, service: ServiceState, path: PathState) {
        self.key = key
        self.service = service
        self.path = path
    }

    // MARK: - Choosing

    func signal(now: UInt64) -> EndpointSignal {
        let latency = UInt64(self.path.latency(now: now)) + UInt64(self.answer.latency(now: now))
        return EndpointSignal(
            latency: UInt32(clamping: latency), open: self.open.load(ordering: .relaxed),
            availability: EndpointHealth.availability(
                ejectedUntil: self.ejectedUntil.load(ordering: .relaxed), now: now))
    }

    func began() { self.open.wrappingAdd(1, ordering: .relaxed) }
    func ended() { self.open.wrappingSubtract(1, ordering: .relaxed) }
    var openCount: Int { self.open.load(ordering: .relaxed) }

    /// Its application refused the address of the dialled family: the workload's address of the other one is used.
    var usesOtherFamily: Bool {
        get { self.isOther.load(ordering: .relaxed) }
        set { self.isOther.store(newValue, ordering: .relaxed) }
    }

    // MARK: - Judging

    /// The endpoint answered a CONNECT after that many nanoseconds.
    func answered(after time: UInt64, now: UInt64) { self.answer.observe(time, now: now) }

    /// A connection to it got past a stage.
    func succeeded(_ stage: EndpointHealth.Stage) {
        guard self.hasFailures.load(ordering: .relaxed) else { return }
        let left = self.health.withLock { health in
            health.succeeded(stage)
            return health.hasFailures
        }
        self.hasFailures.store(left, ordering: .relaxed)
    }

    /// A connection to it failed.
    ///
    /// - Returns: whether that set it aside.
    func failed(_ stage: EndpointHealth.Stage, now: UInt64) -> Bool {
        let policy = self.service.outlierDetection
        let until: UInt64? = self.health.withLock { health in
            guard health.failed(stage, policy, now: now), self.service.mayEject(self.key, policy, now: now) else {
                return nil
            }
            health.eject(stage, policy, now: now)
            self.service.ejected(self.key, until: health.ejectedUntil)
            return health.ejectedUntil
        }
        self.hasFailures.store(true, ordering: .relaxed)
        guard let until else { return false }
        self.ejectedUntil.store(until, ordering: .relaxed)
        return true
    }

    /// Goes on with what another data plane has found.
    func adopt(_ ejection: CarriedEjection) {
        self.health.withLock { $0 = EndpointHealth(ejectedUntil: ejection.until, ejections: ejection.times) }
        self.service.ejected(self.key, until: ejection.until)
        self.hasFailures.store(true, ordering: .relaxed)
        self.ejectedUntil.store(ejection.until, ordering: .relaxed)
    }

    /// Until when it is set aside (nanoseconds of the monotonic clock), and how many times in a row it was; nil: it is
    /// not.
    func ejection(now: UInt64) -> (until: UInt64, times: UInt64)? {
        let (until, times) = self.health.withLock { ($0.ejectedUntil, $0.ejections) }
        return until > now ? (until, times) : nil
    }
}

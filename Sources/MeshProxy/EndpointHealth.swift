// SPDX-License-Identifier: Apache-2.0
import MeshModel

/// Whether an endpoint is set aside, from how connections to it ended. It has no clock: callers pass nanoseconds of the
/// monotonic one.
struct EndpointHealth {
    /// What failed: each kind is counted by itself, since an endpoint that accepts every connection and then resets it
    /// would otherwise look well half of the time.
    enum Stage: Hashable {
        /// The connection was refused, was not made in time, or its handshake failed.
        case connecting
        /// It was made, and reset before a byte of the answer.
        case answering
    }

    /// After its return an endpoint gets its share of connections back over this time (nanoseconds).
    static let rampTime: UInt64 = 10_000_000_000
    /// The share it begins with, in thousandths.
    static let rampStart: UInt64 = 100
    /// The share of an endpoint that was never set aside.
    static let full: UInt64 = 1000

    private var connecting: UInt32 = 0
    private var answering: UInt32 = 0
    /// It came back and has not yet proved itself at this stage: the next failure sets it aside again.
    private var probation: Stage?
    /// Nanoseconds; 0: never.
    private(set) var ejectedUntil: UInt64 = 0
    /// By how much its next absence is longer than the first.
    private(set) var ejections: UInt64 = 0

    init() {}

    /// Of an endpoint that another data plane has set aside.
    init(ejectedUntil: UInt64, ejections: UInt64) {
        self.ejectedUntil = ejectedUntil
        self.ejections = ejections
        self.probation = .connecting
    }

    var hasFailures: Bool { self.connecting > 0 || self.answering > 0 || self.probation != nil }

    /// - Returns: whether it should be set aside; then ``eject(_:now:)`` does it.
    mutating func failed(_ stage: Stage, _ policy: OutlierDetection, now: UInt64) -> Bool {
        // What fails while it is set aside began before, or was sent there for lack of others.
        if policy.consecutiveFailures == 0 || now < self.ejectedUntil { return false }
        let count: UInt32
        switch stage {
        case .connecting:
            self.connecting = min(self.connecting, .max - 1) + 1
            count = self.connecting
        case .answering:
            self.answering = min(self.answering, .max - 1) + 1
            count = self.answering
        }
        return count >= policy.consecutiveFailures || self.probation == stage
    }

    /// Sets it aside, each time for longer; time spent well makes up for earlier times.
    mutating func eject(_ stage: Stage, _ policy: OutlierDetection, now: UInt64) {
        let base = max(1, policy.baseEjectionTime.nanoseconds)
        if self.ejectedUntil > 0, now > self.ejectedUntil {
            self.ejections -= min(self.ejections, (now - self.ejectedUntil) / base)
        }
        self.ejections += 1
        let (time, overflow) = base.multipliedReportingOverflow(by: self.ejections)
        let longest = max(base, policy.maxEjectionTime.nanoseconds)
        if overflow || time >= longest {
            self.ejections = max(1, longest / base)
            self.ejectedUntil = now &+ longest
        } else {
            self.ejectedUntil = now &+ time
        }
        self.connecting = 0
        self.answering = 0
        self.probation = stage
    }

    mutating func succeeded(_ stage: Stage) {
        switch stage {
        case .connecting: self.connecting = 0
        case .answering: self.answering = 0
        }
        if self.probation == stage { self.probation = nil }
    }

    /// The share of its connections that an endpoint gets at a moment, in thousandths; 0: it is set aside.
    static func availability(ejectedUntil: UInt64, now: UInt64) -> UInt64 {
        if ejectedUntil == 0 { return Self.full }
        if now < ejectedUntil { return 0 }
        let age = now - ejectedUntil
        if age >= Self.rampTime { return Self.full }
        return Self.rampStart + (Self.full - Self.rampStart) * age / Self.rampTime
    }
}

/// Which endpoints of one service port are set aside now, to keep that a minority.
struct EjectionList {
    private var until: [EndpointTable.Key: UInt64] = [:]

    /// - Returns: whether one more may be set aside: a share of all, and one in any case. Never the only one there is.
    mutating func mayEject(of total: Int, _ policy: OutlierDetection, now: UInt64) -> Bool {
        if total <= 1 { return false }
        self.until = self.until.filter { $0.value > now }
        let most = max(1, UInt64(total) * UInt64(min(100, policy.maxEjectionPercent)) / 100)
        return UInt64(self.until.count) < most
    }

    mutating func add(_ key: EndpointTable.Key, until: UInt64) { self.until[key] = until }

    mutating func remove(_ key: EndpointTable.Key) { self.until[key] = nil }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshAdminAPI
import MeshLinux
import MeshModel
import MeshSteering
import MeshTelemetry
import Synchronization

/// Proves now and then that an enrolled workload cannot speak clear text into the mesh: a process in a cgroup of its
/// own, enrolled as any is, connects to an address of the mesh that nobody has. The proxy must see it, or it must be
/// refused. Its network namespace has no interface but loopback, so that even a failure sends nothing.
///
/// It asks the kernel as well whether the programs of each enrolled workload still run.
final class Canary: Sendable {
    static let id = WorkloadID(namespace: "nodemesh-system", name: "canary")
    /// No workload gets this number, the last but one that the programs take.
    static let key = UInt32(Int32.max) - 1

    private struct State {
        var status: CanaryStatus?
        /// The address of the try that runs, and whether the proxy has seen it.
        var target: SocketAddress?
        var isSeen = false
        var tries: UInt64 = 0
        var alarms: UInt64 = 0
        var namespace: NetworkNamespace?
    }

    private let cgroup: String
    private let plane: any WorkloadPlane
    private let steering: Steering
    private let events: EventHub
    private let names: WorkloadNames
    private let logger: Logger
    private let state = Mutex(State())

    private static let timeout = 2000

    /// - Parameter proxyCgroup: nodemeshd's own; the canary's lies beside it.
    init(
        proxyCgroup: String, plane: any WorkloadPlane, steering: Steering, events: EventHub, names: WorkloadNames,
        logger: Logger
    ) {
        self.cgroup = DaemonCgroup.canary(of: proxyCgroup)
        self.plane = plane
        self.steering = steering
        self.events = events
        self.names = names
        self.logger = logger
    }

    /// How the last try ended.
    var status: CanaryStatus? { self.state.withLock { $0.status } }
    var tries: UInt64 { self.state.withLock { $0.tries } }
    var alarms: UInt64 { self.state.withLock { $0.alarms } }

    /// What is wrong; nil when nothing is known to be.
    var problem: String? {
        guard let status = self.status, status.outcome == "alarm" else { return nil }
        return "the canary raises an alarm: \(status.detail)"
    }

    /// The proxy had this connection. Data plane: called at the end of each connection, before anything is counted.
    ///
    /// - Returns: whether it was the canary's, and so nobody else's business.
    func noticed(_ record: ConnectionRecord) -> Bool {
        guard record.source == Self.id else { return false }
        self.state.withLock { if $0.target == record.destination { $0.isSeen = true } }
        return true
    }

    func watch(_ registry: MetricsRegistry) {
        registry.collect(
            "nodemesh_canary_tries_total", .counter, help: "Tries of the canary.", labels: []
        ) { [([], Double(self.tries))] }
        registry.collect(
            "nodemesh_canary_alarms_total", .counter,
            help: "Tries after which clear text of an enrolled workload could not be ruled out.", labels: []
        ) { [([], Double(self.alarms))] }
        registry.collect(
            "nodemesh_canary_ok", .gauge, help: "0 after an alarm, otherwise 1; none before the first try.", labels: []
        ) { self.status.map { [([], $0.outcome == "alarm" ? 0 : 1)] } ?? [] }
    }

    /// Takes the canary out of the kernel.
    func stop() async {
        guard self.state.withLock({ $0.namespace.take() }) != nil else { return }
        await self.plane.detach(Self.id, key: Self.key)
        self.names.remove(Self.key)
        try? FileTree.remove(directory: self.cgroup)
    }

    /// Makes one try, and looks at every enrolled workload's programs.
    ///
    /// - Parameter snapshot: in which nobody must have the address.
    /// - Returns: whether all is well, as far as it is known, and the keys of workloads that have lost programs.
    func look(_ snapshot: MeshSnapshot) async -> (isWell: Bool, damaged: Set<UInt32>) {
        let (missing, unguarded) = (self.steering.missingPrograms(), self.steering.restoreGuards())
        var verdict = CanaryVerdict.unknown("no address of the mesh prefixes is free")
        if let address = Self.address(in: snapshot, random: UInt16.random(in: 20_000...60_000)) {
            verdict = await self.attempt(address)
        }
        if let first = missing.first {
            let more = missing.count > 1 ? " and \(missing.count - 1) more" : ""
            verdict = .alarm("workload \(first.id) has lost its program at \(first.hook)\(more)")
        }
        if missing.isEmpty, let first = unguarded.first {
            verdict = .alarm("cgroup \(first.cgroupPath) had lost its guard at \(first.hook), which is put back")
        }
        self.conclude(verdict, missing: missing, unguarded: unguarded)
        let damaged = Set(missing.map(\.key))
        // It is enrolled anew by its next try.
        if damaged.contains(Self.key) { await self.stop() }
        if case .alarm = verdict { return (false, damaged) }
        return (true, damaged)
    }

    private func attempt(_ address: SocketAddress) async -> CanaryVerdict {
        let namespace: NetworkNamespace
        do {
            namespace = try await self.enrol()
        } catch {
            return .unknown("the canary cannot be enrolled: \(error)")
        }
        self.state.withLock { state in
            state.target = address
            state.isSeen = false
        }
        let observation = await self.spawn(address, namespace)
        // The proxy says so when the connection has ended there, which may be a moment later.
        var isSeen = self.state.withLock { $0.isSeen }
        let deadline = ContinuousClock.now + .milliseconds(Self.timeout)
        while observation == .connected, !isSeen, ContinuousClock.now < deadline {
            try? await Task.sleep(for: .milliseconds(10))
            isSeen = self.state.withLock { $0.isSeen }
        }
        return CanaryVerdict(observation, isSeen: isSeen)
    }

    private func spawn(_ address: SocketAddress, _ namespace: NetworkNamespace) async -> CanaryVerdict.Observation {
        let cgroup = self.cgroup
        return await withCheckedContinuation { continuation in
            do throws(SystemError) {
                let thread = try OSThread(name: "nm-canary") {
                    continuation.resume(
                        returning: CanaryProcess.spawn(
                            cgroup: cgroup, namespace: namespace, address: address, timeout: Self.timeout))
                }
                thread.detach()
            } catch {
                continuation.resume(returning: .broken("no thread for it: \(error)"))
            }
        }
    }

    /// Once; from then on it is a workload like any other.
    private func enrol() async throws -> NetworkNamespace {
        if let namespace = self.state.withLock({ $0.namespace }) { return namespace }
        try FileTree.makeDirectory(self.cgroup)
        let cgroup = try Cgroup(path: self.cgroup)
        let namespace = try NetworkNamespace.create()
        try namespace.run { () throws(SystemError) in try ConnectProbe.raiseLoopback() }
        self.names.set(Self.key, workload: Self.id, serviceAccount: Self.id.name)
        try await self.plane.attach(
            Self.id, key: Self.key,
            workload: InspectedWorkload(
                cgroup: (cgroup.path, cgroup.id), namespace: namespace, namespaceInode: namespace.inode, addresses: []),
            options: SteeringOptions())
        self.state.withLock { $0.namespace = namespace }
        return namespace
    }

    private func conclude(
        _ verdict: CanaryVerdict, missing: [MissingProgram], unguarded: [(cgroupPath: String, hook: String)]
    ) {
        let former = self.state.withLock { state in
            let former = state.status?.outcome
            state.tries += 1
            if case .alarm = verdict { state.alarms += 1 }
            state.status = CanaryStatus(outcome: verdict.outcome, detail: verdict.detail, at: Date())
            return former
        }
        switch verdict {
        case .alarm(let detail):
            self.logger.critical("clear text may leave an enrolled workload", metadata: ["reason": "\(detail)"])
            let now = EventTime.text(Clock.wall)
            for lost in unguarded.prefix(100) {
                self.events.publish(
                    NodeEvent(
                        time: now, kind: "alarm", reason: "programs_missing",
                        detail: "no guard of nodemesh ran at \(lost.hook) of \(lost.cgroupPath)"))
            }
            if missing.isEmpty, unguarded.isEmpty {
                self.events.publish(NodeEvent(time: now, kind: "alarm", reason: "canary_failed", detail: detail))
            }
            for program in missing.prefix(100) {
                self.events.publish(
                    NodeEvent(
                        time: now, kind: "alarm", reason: "programs_missing", workload: program.id,
                        identity: self.names.name(program.key)?.identity,
                        detail: "no program of nodemesh runs at \(program.hook) of \(program.cgroupPath)"))
            }
        case .unknown(let detail):
            if former != verdict.outcome {
                self.logger.warning("the canary could not try", metadata: ["reason": "\(detail)"])
            }
        case .captured, .refused:
            if former == "alarm" {
                self.logger.notice("the canary is well again", metadata: ["outcome": "\(verdict.outcome)"])
            }
        }
    }

    /// The last address of a mesh prefix that nothing in the mesh has, and a port by which the try is known again.
    static func address(in snapshot: MeshSnapshot, random port: UInt16) -> SocketAddress? {
        for prefix in snapshot.settings.prefixes {
            let width = prefix.address.isIPv4 ? 32 : 128
            let hostBits = min(width - prefix.length, 32)
            guard hostBits > 0 else { continue }
            let last = prefix.address.low | ((1 << UInt64(hostBits)) - 1)
            for step in 0..<min(UInt64(64), 1 << UInt64(hostBits)) {
                let address = SocketAddress(ip: IPAddress(high: prefix.address.high, low: last - step), port: port)
                if case .failure(let failure) = snapshot.route(to: address, pick: { _ in 0 }), failure.isUnknown {
                    return address
                }
            }
        }
        return nil
    }
}

/// Where the proxy's hooks find the canary, which can only be made when the proxy is there.
final class CanarySlot: Sendable {
    private let canary = Mutex<Canary?>(nil)

    func set(_ canary: Canary) { self.canary.withLock { $0 = canary } }

    /// See ``Canary/noticed(_:)``. The lock is taken for connections in that namespace alone.
    func noticed(_ record: ConnectionRecord) -> Bool {
        guard record.source == Canary.id else { return false }
        return self.canary.withLock { $0 }?.noticed(record) ?? true
    }
}

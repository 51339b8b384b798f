// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshAdminAPI
import MeshTelemetry
import ServiceLifecycle
import Synchronization

/// Looks once a second at what nobody is told of: how old the view is, whether the clock jumped, and how long the node's
/// certificate still is good. Says so in the log, as an event and in the status.
package final class HealthWatch: ServiceLifecycle.Service {
    /// Ages of the view at which the log tells of it, in seconds; then once a day.
    static let thresholds: [Int64] = [60, 600, 3600, 6 * 3600, 24 * 3600]
    /// Seconds between two clocks' steps that are no mere correction.
    static let jump: TimeInterval = 30
    /// Seconds for which a jump is shown.
    private static let jumpMemory = Duration.seconds(600)

    private struct State {
        var threshold: Int64 = 0
        var isStale = false
        var wall: Date
        var uptime: Duration
        var jumps: UInt64 = 0
        var lastJump: (text: String, at: Duration)?
    }

    private let freshness: ViewFreshness
    private let control: ControlPlaneClient
    private let alarms: CertificateAlarms
    private let faults: StateFaults
    private let events: EventHub
    private let clock: any AgentClock
    private let logger: Logger
    private let refusal: String?
    private let onStale: @Sendable (String?) -> Void
    private let onClockJump: @Sendable () -> Void
    private let state: Mutex<State>

    /// - Parameters:
    ///   - refusal: why the view of the last run is not used.
    ///   - onStale: told when new connections may not be decided by the view any more, and why, and with nil when they
    ///     may again.
    ///   - onClockJump: times that were planned by the wall clock have to be looked at again.
    package init(
        freshness: ViewFreshness, control: ControlPlaneClient, alarms: CertificateAlarms, faults: StateFaults,
        events: EventHub, clock: any AgentClock = SystemClock(), logger: Logger, refusal: StateRefusal? = nil,
        onStale: @escaping @Sendable (String?) -> Void, onClockJump: @escaping @Sendable () -> Void = {}
    ) {
        self.freshness = freshness
        self.control = control
        self.alarms = alarms
        self.faults = faults
        self.events = events
        self.clock = clock
        self.logger = logger
        self.refusal = refusal?.description
        self.onStale = onStale
        self.onClockJump = onClockJump
        self.state = Mutex(State(wall: clock.now, uptime: clock.uptime))
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                self.look()
                do { try await self.clock.sleep(for: .seconds(1)) } catch { return }
            }
        }
    }

    /// One look at everything.
    package func look() {
        self.lookAtClock()
        self.lookAtAge()
        let (credentials, status) = (self.control.credentials, self.control.status)
        self.alarms.look(atNode: credentials.svid, lastError: status.lastError, now: self.clock.now)
    }

    private func lookAtClock() {
        let (now, uptime) = (self.clock.now, self.clock.uptime)
        let step: TimeInterval? = self.state.withLock { state in
            defer { (state.wall, state.uptime) = (now, uptime) }
            let step = now.timeIntervalSince(state.wall) - (uptime - state.uptime).interval
            guard abs(step) >= Self.jump else { return nil }
            state.jumps += 1
            let direction = step > 0 ? "ahead" : "back"
            let text =
                "the clock jumped \(direction) by \(ViewFreshness.text(.seconds(abs(step)))): certificates are judged"
                + " by it, and peers whose clocks differ refuse each other; check time synchronisation"
            state.lastJump = (text, uptime)
            return step
        }
        guard let step else { return }
        let text = self.state.withLock { $0.lastJump?.text } ?? ""
        self.logger.error("the clock jumped", metadata: ["seconds": "\(Int(step))", "reason": "\(text)"])
        self.publish("clock_jumped", text)
        self.onClockJump()
    }

    private func lookAtAge() {
        let seconds = self.freshness.age?.components.seconds ?? 0
        let days = seconds / 86_400
        let reached = days > 0 ? days * 86_400 : Self.thresholds.last { $0 <= seconds } ?? 0
        let staleness = self.freshness.staleness
        let (isOlder, change) = self.state.withLock { state in
            let isOlder = reached > state.threshold
            state.threshold = reached
            let change = state.isStale != (staleness != nil)
            state.isStale = staleness != nil
            return (isOlder, change)
        }
        if isOlder {
            let text = ViewFreshness.text(.seconds(seconds))
            self.logger.log(
                level: reached < 3600 ? .warning : .error,
                "the view of the mesh is getting old: the control plane does not confirm it; traffic goes on",
                metadata: ["age": "\(text)", "error": "\(self.control.status.lastError ?? "none")"])
            self.publish("view_old", "the control plane last confirmed the view of the mesh \(text) ago")
        }
        guard change else { return }
        self.onStale(staleness)
        if let staleness {
            self.logger.error("new connections are refused", metadata: ["reason": "\(staleness)"])
            self.publish("view_stale", staleness)
        } else {
            self.logger.notice("the view of the mesh is confirmed; new connections are accepted again")
        }
    }

    private func publish(_ reason: String, _ text: String) {
        self.events.publish(
            NodeEvent(time: EventTime.text(self.clock.now), kind: "alarm", reason: reason, detail: text))
    }

    /// What an operator should know, as sentences; traffic goes on all the same.
    package var problems: [String] {
        var problems: [String] = []
        let status = self.control.status
        if let staleness = self.freshness.staleness { problems.append("new connections are refused: " + staleness) }
        if let age = self.freshness.age, age > .seconds(Self.thresholds[0]) {
            problems.append("the control plane last confirmed the view of the mesh \(ViewFreshness.text(age)) ago")
        }
        if status.isRolledBack, let error = status.lastError { problems.append(error) }
        if let refusal = self.refusal, !status.isConnected {
            problems.append("the view of the last run was refused: it \(refusal)")
        }
        let uptime = self.clock.uptime
        if let jump = self.state.withLock({ $0.lastJump }), uptime - jump.at < Self.jumpMemory {
            problems.append(jump.text)
        }
        return problems + self.alarms.problems(now: self.clock.now) + self.faults.present
    }

    package func watch(_ registry: MetricsRegistry) {
        self.freshness.watch(registry)
        self.alarms.watch(registry)
        self.faults.watch(registry)
        registry.collect(
            "nodemesh_control_plane_connected", .gauge, help: "1 while the control plane answers, otherwise 0."
        ) { [([], self.control.status.isConnected ? 1 : 0)] }
        registry.collect(
            "nodemesh_control_plane_rolled_back", .gauge,
            help: "1 while the control plane's view is refused, since its store is older than what this node has seen."
        ) { [([], self.control.status.isRolledBack ? 1 : 0)] }
        registry.collect(
            "nodemesh_clock_jumps_total", .counter,
            help: "Jumps of the wall clock by half a minute or more since the daemon's start."
        ) { [([], Double(self.state.withLock { $0.jumps }))] }
    }
}

extension EventTime {
    static func text(_ date: Date) -> String { Self.text(UInt64(max(0, date.timeIntervalSince1970) * 1e9)) }
}

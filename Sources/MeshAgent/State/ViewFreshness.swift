// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshTelemetry
import Synchronization

/// How old the view of the mesh is. Time is counted by a clock that nobody sets, so that a jump of the wall clock makes
/// no view older or younger; only the time during which the daemon did not run comes from the wall clock.
package final class ViewFreshness: Sendable {
    /// A confirmation that lies further ahead of the wall clock says that the clock went back.
    private static let tolerance: TimeInterval = 300

    private struct State {
        /// By ``AgentClock/uptime``; before the daemon's start it is negative.
        var confirmedAt: Duration?
        var contactAt: Duration?
        /// The clock went back while the daemon was down: nobody knows how long it was.
        var isUnknown = false
        /// From the node's own configuration, and from the mesh's; nil: none.
        var ownLimit: Duration?
        var meshLimit: Duration?
    }

    private let state: Mutex<State>
    private let clock: any AgentClock

    /// - Parameter ownLimit: beyond this age new connections are refused; nil: never.
    package init(clock: any AgentClock = SystemClock(), ownLimit: Duration? = nil) {
        self.clock = clock
        self.state = Mutex(State(ownLimit: ownLimit))
    }

    /// A view from disk is in use.
    package func restored(confirmedAt: Date) {
        let age = self.clock.now.timeIntervalSince(confirmedAt)
        let uptime = self.clock.uptime
        self.state.withLock { state in
            state.confirmedAt = uptime - .seconds(max(0, age))
            state.isUnknown = age < -Self.tolerance
        }
    }

    /// The control plane said what the mesh is like now, or that it still is as it was.
    package func confirm() {
        let uptime = self.clock.uptime
        self.state.withLock { state in
            state.confirmedAt = uptime
            state.contactAt = uptime
            state.isUnknown = false
        }
    }

    /// The control plane said anything at all.
    package func contact() {
        let uptime = self.clock.uptime
        self.state.withLock { $0.contactAt = uptime }
    }

    /// What the mesh demands of all nodes; nil: nothing.
    package func setMeshLimit(_ limit: Duration?) { self.state.withLock { $0.meshLimit = limit } }

    package func setOwnLimit(_ limit: Duration?) { self.state.withLock { $0.ownLimit = limit } }

    /// The shorter of both limits; nil: there is none.
    package var limit: Duration? {
        self.state.withLock { state in [state.ownLimit, state.meshLimit].compactMap { $0 }.min() }
    }

    /// Since the last confirmation; nil: no view was ever confirmed.
    package var age: Duration? {
        let uptime = self.clock.uptime
        return self.state.withLock { state in state.confirmedAt.map { max(.zero, uptime - $0) } }
    }

    /// Since the control plane last said anything to this run of the daemon; nil: never.
    package var sinceContact: Duration? {
        let uptime = self.clock.uptime
        return self.state.withLock { state in state.contactAt.map { max(.zero, uptime - $0) } }
    }

    /// When the view was last confirmed, as the wall clock would have shown it; nil: never.
    package var confirmedAt: Date? { self.age.map { self.clock.now.addingTimeInterval(-$0.interval) } }

    /// Why new connections must not be decided by the view; nil: they may.
    package var staleness: String? {
        guard let limit = self.limit, let age = self.age else { return nil }
        if self.state.withLock({ $0.isUnknown }) {
            return "the view of the mesh is from disk and of unknown age, since the clock went back; maxStaleness is"
                + " \(Self.text(limit))"
        }
        guard age > limit else { return nil }
        return "the control plane last confirmed this node's view of the mesh \(Self.text(age)) ago, and maxStaleness"
            + " is \(Self.text(limit))"
    }

    /// In the largest unit that shows something, such as `90 s`, `5 min`, `3 h` or `2 d`.
    static func text(_ duration: Duration) -> String {
        let seconds = duration.components.seconds
        return switch seconds {
        case ..<120: "\(seconds) s"
        case ..<7200: "\(seconds / 60) min"
        case ..<172_800: "\(seconds / 3600) h"
        default: "\(seconds / 86_400) d"
        }
    }

    package func watch(_ registry: MetricsRegistry) {
        registry.collect(
            "nodemesh_view_age_seconds", .gauge,
            help: "Since the control plane last confirmed this node's view of the mesh; none before the first view."
        ) { self.age.map { [([], $0.interval)] } ?? [] }
        registry.collect(
            "nodemesh_control_plane_contact_age_seconds", .gauge,
            help: "Since the control plane last said anything; none until it has since the daemon's start."
        ) { self.sinceContact.map { [([], $0.interval)] } ?? [] }
        registry.collect(
            "nodemesh_view_stale", .gauge,
            help: "1 while the view is older than maxStaleness and new connections are refused, otherwise 0."
        ) { [([], self.staleness == nil ? 0 : 1)] }
    }
}

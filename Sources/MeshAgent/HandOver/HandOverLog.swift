// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshAdminAPI
import MeshLinux
import MeshProxy
import MeshTelemetry
import Synchronization

/// What this run took over from the one before, for the log, the status and the metrics.
final class HandOverLog: Sendable {
    private struct State {
        var label: HandOverLabel?
        /// At the start.
        var adopted = HandOverSummary()
        var resumedAt: UInt64 = 0
        var status: HandOverStatus?
    }

    private let logger: Logger
    private let state = Mutex(State())

    init(logger: Logger) { self.logger = logger }

    /// nil: nothing was taken over, or it is not complete yet.
    var status: HandOverStatus? { self.state.withLock { $0.status } }

    /// The data plane runs again with what came over.
    func resumed(_ label: HandOverLabel, _ summary: HandOverSummary) {
        self.state.withLock { state in
            state.label = label
            state.adopted = summary
            state.resumedAt = Clock.sinceBoot
        }
    }

    /// Everything that comes back is back.
    ///
    /// - Parameter rest: what adoption's end found.
    func completed(_ rest: HandOverSummary) {
        let status = self.state.withLock { state -> HandOverStatus? in
            guard let label = state.label else { return nil }
            var dropped = state.adopted.closed
            for (why, count) in rest.closed { dropped[why, default: 0] += count }
            func milliseconds(_ until: UInt64) -> Double {
                label.frozenAt > 0 && until > label.frozenAt ? (Double(until - label.frozenAt) / 1e5).rounded() / 10 : 0
            }
            state.status = HandOverStatus(
                kind: label.kind.rawValue, at: Date(), fromVersion: label.version, carried: state.adopted.carried,
                tunnels: state.adopted.tunnels, listeners: state.adopted.listeners, drained: label.drained,
                dropped: dropped, milliseconds: milliseconds(state.resumedAt),
                acceptedAfterMilliseconds: milliseconds(Clock.sinceBoot))
            return state.status
        }
        guard let status else { return }
        self.logger.notice(
            "took over from the nodemeshd before",
            metadata: [
                "kind": "\(status.kind)", "version": "\(status.fromVersion)", "carried": "\(status.carried)",
                "tunnels": "\(status.tunnels)", "listeners": "\(status.listeners)",
                "drained": "\(Self.text(status.drained))", "dropped": "\(Self.text(status.dropped))",
                "stall.ms": "\(status.milliseconds)", "accept.ms": "\(status.acceptedAfterMilliseconds)",
            ])
    }

    static func text(_ counts: [String: Int]) -> String {
        counts.isEmpty
            ? "0" : counts.sorted { $0.key < $1.key }.map { "\($0.value) (\($0.key))" }.joined(separator: ", ")
    }

    func watch(_ registry: MetricsRegistry) {
        registry.collect(
            "nodemesh_hand_over_timestamp_seconds", .gauge,
            help: "When this run took over from the one before, as Unix time; absent when it began with nothing.",
            labels: ["kind"]
        ) { self.status.map { [([$0.kind], $0.at.timeIntervalSince1970)] } ?? [] }
        registry.collect(
            "nodemesh_hand_over_stall_seconds", .gauge, help: "How long carried connections stood still."
        ) { self.status.map { [([], $0.milliseconds / 1000)] } ?? [] }
        registry.collect(
            "nodemesh_hand_over_accept_seconds", .gauge, help: "How long new connections waited to be accepted."
        ) { self.status.map { [([], $0.acceptedAfterMilliseconds / 1000)] } ?? [] }
        registry.collect(
            "nodemesh_hand_over_items", .gauge,
            help:
                "What came over from the run before, and how many connections did not: drained before, dropped after.",
            labels: ["item"]
        ) {
            self.status.map { status in
                [
                    (["connection"], Double(status.carried)), (["tunnel"], Double(status.tunnels)),
                    (["listener"], Double(status.listeners)),
                    (["drained"], Double(status.drained.values.reduce(0, +))),
                    (["dropped"], Double(status.dropped.values.reduce(0, +))),
                ]
            } ?? []
        }
    }
}

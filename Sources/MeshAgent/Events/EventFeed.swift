// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshLinux
import MeshModel
import MeshSteering
import MeshTelemetry
import Synchronization

/// Takes what the eBPF programs announce, gives it names, keeps it in the hub and counts it.
final class EventFeed: Sendable {
    /// Different pairs of reason and workload; those beyond are counted together.
    private static let maximumSeries = 2000

    private struct Series: Hashable {
        let reason: Reason
        let workload: String
    }

    private let hub: EventHub
    private let names: WorkloadNames
    private let counts = Mutex<[Series: UInt64]>([:])

    init(hub: EventHub, names: WorkloadNames) {
        self.hub = hub
        self.names = names
    }

    /// Called by the thread that reads the ring.
    func take(_ event: SteeringEvent) {
        let (workload, target) = (self.names.name(event.workloadKey), self.names.name(event.targetKey))
        if event.workloadKey == Canary.key { return }
        let series = Series(reason: event.reason, workload: workload?.workload ?? "")
        self.counts.withLock { counts in
            let isNew = counts[series] == nil && counts.count >= Self.maximumSeries
            counts[isNew ? Series(reason: event.reason, workload: "(others)") : series, default: 0] += 1
        }
        let isDirect = event.kind != .decision
        self.hub.publish(
            NodeEvent(
                time: EventTime.text(event.time), kind: event.kind.rawValue, reason: event.reason.name,
                workload: workload?.workload, identity: workload?.identity, target: target?.workload,
                targetIdentity: target?.identity, source: event.source?.description,
                destination: event.destination?.description, upstream: event.upstream?.description,
                close: event.kind == .directClosed ? "\(event.close)" : nil,
                durationSeconds: event.kind == .directClosed ? Double(event.duration) / 1e9 : nil,
                bytesSent: isDirect ? event.bytesSent : nil, bytesReceived: isDirect ? event.bytesReceived : nil))
    }

    func watch(_ registry: MetricsRegistry) {
        registry.collect(
            "nodemesh_steering_events_total", .counter,
            help: "Announced decisions of the eBPF programs since the daemon started: refusals, connections left alone"
                + " inside the mesh, losses, and those of the direct path.",
            labels: ["reason", "workload"]
        ) {
            self.counts.withLock { counts in
                counts.map { ([$0.key.reason.name, $0.key.workload], Double($0.value)) }
            }
        }
        registry.collect(
            "nodemesh_events_lost_total", .counter,
            help: "Events that readers of the admin API did not take in time.", labels: []
        ) { [([], Double(self.hub.lost))] }
    }
}

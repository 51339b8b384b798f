// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import MeshConfiguration
import MeshModel
import MeshProxy
import MeshSteering
import MeshTelemetry

/// Answers the admin API from the running parts.
struct Inventory: AdminBackend {
    let settings: AgentConfiguration
    let reloader: Reloader
    let logs: LogLevels
    let telemetry: ConnectionTelemetry
    let events: EventHub
    let sockets: NamespaceSockets
    let canary: Canary
    let startedAt: Date
    let loops: Int
    let proxy: Proxy
    let steering: Steering
    let registry: WorkloadRegistry
    let views: ViewBuilder
    let control: ControlPlaneClient
    let certificateManager: CertificateManager
    let refusals: RefusalList
    let direct: LocalPath
    let health: HealthWatch
    let freshness: ViewFreshness
    /// Nil: the view is not kept.
    let keeper: ViewKeeper?
    let handOver: HandOverLog
    /// Nil: names are not answered.
    let nameService: NameService?

    func status() async -> NodeStatus {
        // Before the problem is looked for: who reads that the canary has raised the alarm, reads why here too.
        let canary = self.reloader.configuration.canaryInterval > 0 ? self.canary.status : nil
        let snapshot = await self.views.snapshot
        let connection = self.control.status
        let problem = await self.problem()
        let steering = self.steering.counters()
        return NodeStatus(
            node: self.settings.node, version: Version.text, startedAt: self.startedAt,
            trustDomain: snapshot?.settings.trustDomain ?? "", isReady: problem == nil, problem: problem,
            controlPlane: .init(
                address: self.settings.controlPlane?.description ?? "", isConnected: connection.isConnected,
                viewAgeSeconds: self.freshness.age?.interval, lastError: connection.lastError,
                contactAgeSeconds: self.freshness.sinceContact?.interval, isStale: self.freshness.staleness != nil,
                isViewKept: self.keeper?.isCurrent),
            certificate: self.control.certificateSummary,
            failMode: self.reloader.configuration.failMode.rawValue, loops: self.loops,
            connectionsOpen: await self.proxy.statistics().connections + self.direct.openCount,
            workloads: await self.registry.all.count, services: snapshot?.serviceCount ?? 0,
            meshPrefixes: snapshot?.settings.prefixes.map(\.description) ?? [],
            steering: steering,
            maps: self.steering.mapStatus().map {
                NodeStatus.Map(name: $0.name, entries: $0.entries, capacity: Int($0.capacity))
            },
            canary: canary,
            refusals: steering.filter { Reason.refusals.contains($0.key) && $0.value > 0 },
            waiting: await self.registry.allWaiting.count, enrolmentProblems: await self.registry.fileProblems,
            alarms: self.health.problems, handOver: self.handOver.status,
            pendingRestart: self.reloader.live.pending.map(\.key),
            configurationProblems: self.reloader.live.problems)
    }

    /// What the node waits for; nil when it is ready.
    func problem() async -> String? {
        if await !self.registry.isRestored { return "enrolling the workloads of the last run" }
        if await self.views.snapshot == nil { return "waiting for the first snapshot from the control plane" }
        if self.reloader.configuration.canaryInterval > 0, let problem = self.canary.problem { return problem }
        return nil
    }

    func connections() async -> [ConnectionSummary] {
        let now = UInt64(Date().timeIntervalSince1970 * 1e9)
        return await (self.proxy.connections() + self.direct.connections()).map { record in
            ConnectionSummary(
                id: String(record.id), direction: record.direction.rawValue, state: "established",
                source: record.source?.description, sourceAddress: record.sourceAddress.description,
                sourceIdentity: record.sourceIdentity?.description, destination: record.destination.description,
                service: record.service?.description, destinationWorkload: record.destinationWorkload?.description,
                destinationIdentity: record.destinationIdentity?.description,
                upstream: record.upstream?.description, wire: record.wire.rawValue, engine: record.engine?.rawValue,
                bytesSent: record.bytesSent, bytesReceived: record.bytesReceived,
                ageSeconds: Double(now > record.openedAt ? now - record.openedAt : 0) / 1e9)
        }
    }

    func services() async -> [ServiceSummary] {
        guard let snapshot = await self.views.snapshot else { return [] }
        let ejections = Dictionary(grouping: self.proxy.ejections, by: \.service)
        return snapshot.services.map { service in
            ServiceSummary(
                namespace: service.id.namespace, name: service.id.name, hostname: service.hostname,
                addresses: service.addresses.map(\.description),
                ports: service.ports.map { .init(port: Int($0.servicePort), targetPort: Int($0.targetPort)) },
                endpoints: snapshot.workloads(backing: service.id).flatMap { workload in
                    workload.addresses.map { address in
                        .init(
                            workload: workload.id.description, node: workload.node, address: address.description,
                            isHealthy: workload.isHealthy,
                            ejectedSeconds: ejections[service.id]?
                                .filter { $0.workload == workload.id && $0.address.ip == address }
                                .map(\.secondsLeft).max())
                    }
                }, traffic: service.trafficFigures)
        }
    }

    func certificates() async -> [CertificateSummary] {
        [self.control.certificateSummary] + self.certificateManager.summaries(node: self.settings.node)
    }

    func configuration() -> ConfigurationSummary { self.reloader.live.summary }

    func events(follow: Bool) -> (history: [NodeEvent], subscription: EventHub.Subscription?)? {
        guard follow else { return (self.events.history, nil) }
        return self.events.subscribe().map { ($0.history, $0.subscription) }
    }
}

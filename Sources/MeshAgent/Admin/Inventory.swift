// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import MeshModel
import MeshProxy
import MeshSteering

/// Answers the admin API from the running parts.
struct Inventory: AdminBackend {
    let settings: AgentConfiguration
    let startedAt: Date
    let loops: Int
    let proxy: Proxy
    let steering: Steering
    let registry: WorkloadRegistry
    let views: ViewBuilder
    let control: ControlPlaneClient
    let certificateManager: CertificateManager
    let refusals: RefusalList

    func status() async -> NodeStatus {
        let snapshot = await self.views.snapshot
        let connection = self.control.status
        return NodeStatus(
            node: self.settings.node, version: Version.text, startedAt: self.startedAt,
            trustDomain: snapshot?.settings.trustDomain ?? "", isReady: await self.problem() == nil,
            controlPlane: .init(
                address: self.settings.controlPlane?.description ?? "", isConnected: connection.isConnected,
                viewAgeSeconds: connection.lastConfirmed.map { max(0, -$0.timeIntervalSinceNow) },
                lastError: connection.lastError),
            certificate: self.control.certificateSummary,
            failMode: self.settings.failMode.rawValue, loops: self.loops,
            connectionsOpen: await self.proxy.statistics().connections,
            workloads: await self.registry.all.count, services: snapshot?.serviceCount ?? 0,
            meshPrefixes: snapshot?.settings.prefixes.map(\.description) ?? [],
            steering: self.steering.counters(),
            maps: self.steering.mapStatus().map {
                NodeStatus.Map(name: $0.name, entries: $0.entries, capacity: Int($0.capacity))
            })
    }

    /// What the node waits for; nil when it is ready.
    func problem() async -> String? {
        if await !self.registry.isRestored { return "enrolling the workloads of the last run" }
        if await self.views.snapshot == nil { return "waiting for the first snapshot from the control plane" }
        return nil
    }

    func workloads() async -> [EnrolledWorkload] {
        let refusals = self.refusals.current
        let certificates = self.certificateManager.summaries(node: self.settings.node)
        let snapshot = await self.views.snapshot
        return await self.registry.all.map { entry in
            Self.describe(entry, snapshot: snapshot, refusals: refusals, certificates: certificates)
        }
    }

    func enrol(_ request: EnrolRequest) async throws(EnrolmentError) -> EnrolledWorkload {
        let entry = try await self.registry.enrol(request)
        return Self.describe(
            entry, snapshot: await self.views.snapshot, refusals: self.refusals.current,
            certificates: self.certificateManager.summaries(node: self.settings.node))
    }

    func unenrol(_ id: WorkloadID) async throws(EnrolmentError) {
        try await self.registry.unenrol(id)
    }

    private static func describe(
        _ entry: WorkloadRegistry.Entry, snapshot: MeshSnapshot?, refusals: [WorkloadID: String],
        certificates: [CertificateSummary]
    ) -> EnrolledWorkload {
        let trustDomain = snapshot?.settings.trustDomain ?? ""
        let identity = entry.identity(in: trustDomain)?.description ?? ""
        let certificate = certificates.first { $0.identity == identity && $0.state != "pending" }
        let isKnown = snapshot?.workload(entry.id)?.node == snapshot?.localNode
        let refusal = refusals[entry.id]
        return EnrolledWorkload(
            namespace: entry.id.namespace, name: entry.id.name, serviceAccount: entry.request.serviceAccount,
            labels: entry.request.labels, cgroup: entry.request.cgroup,
            networkNamespace: entry.request.networkNamespace,
            addresses: entry.workload.addresses.map(\.description), identity: identity,
            state: refusal != nil ? "refused" : isKnown && certificate != nil ? "enrolled" : "registering",
            reason: refusal, certificateExpiresAt: certificate?.notAfter,
            limits: snapshot?.workload(entry.id)?.limits?.figures)
    }

    func connections() async -> [ConnectionSummary] {
        let now = UInt64(Date().timeIntervalSince1970 * 1e9)
        return await self.proxy.connections().map { record in
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
                    workload.addresses.filter(\.isIPv4).map { address in
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

    func explain(source: String, destination: String) async throws(ErrorResponse) -> Explanation {
        guard let snapshot = await self.views.snapshot else {
            throw ErrorResponse(error: "this node has no view of the mesh yet: it waits for its control plane")
        }
        let enrolled = Set(await self.registry.all.map(\.id))
        let held = await self.views.heldCertificates
        return try Explainer(
            snapshot: snapshot, unknownDestination: self.settings.unknownDestination,
            hasCertificate: { held.contains($0) }, isEnrolled: { enrolled.contains($0) },
            ejections: self.proxy.ejections
        ).explain(source: source, destination: destination)
    }

    func configuration() -> [String: String] { self.settings.description }
}

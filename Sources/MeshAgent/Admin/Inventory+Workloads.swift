// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshConfiguration
import MeshModel

extension Inventory {
    func workloads() async -> [EnrolledWorkload] {
        let certificates = self.certificateManager.summaries(node: self.settings.node)
        let snapshot = await self.views.snapshot
        let uncaptured = Dictionary(grouping: await self.uncaptured(), by: \.workload).mapValues(\.count)
        let enrolled = await self.registry.all.map { entry in
            self.describe(
                entry, snapshot: snapshot, certificates: certificates,
                uncaptured: uncaptured[entry.id.description] ?? 0)
        }
        let waiting = await self.registry.allWaiting.map { Self.describe($0, snapshot: snapshot) }
        return enrolled + waiting
    }

    func enrol(_ request: EnrolRequest) async throws(EnrolmentError) -> EnrolledWorkload {
        let id = WorkloadID(namespace: request.namespace, name: request.name)
        guard let entry = try await self.registry.enrol(request) else {
            if let waiting = await self.registry.allWaiting.first(where: { $0.id == id }) {
                return Self.describe(waiting, snapshot: await self.views.snapshot)
            }
            throw EnrolmentError(.conflict, "workload \(id) was unenrolled again while it was enrolled")
        }
        return self.describe(
            entry, snapshot: await self.views.snapshot,
            certificates: self.certificateManager.summaries(node: self.settings.node), uncaptured: nil)
    }

    func unenrol(_ id: WorkloadID) async throws(EnrolmentError) {
        try await self.registry.unenrol(id)
    }

    func templates() async -> [TemplateSummary] { await self.registry.allTemplates }

    func enrol(_ template: EnrolTemplate) async throws(EnrolmentError) -> TemplateSummary {
        try await self.registry.enrol(template)
    }

    func unenrol(template: String) async throws(EnrolmentError) {
        try await self.registry.unenrol(template: template)
    }

    private func describe(
        _ entry: WorkloadRegistry.Entry, snapshot: MeshSnapshot?, certificates: [CertificateSummary], uncaptured: Int?
    ) -> EnrolledWorkload {
        let trustDomain = snapshot?.settings.trustDomain ?? ""
        let identity = entry.identity(in: trustDomain)?.description ?? ""
        let certificate = certificates.first { $0.identity == identity && $0.state != "pending" }
        let isKnown = snapshot?.workload(entry.id)?.node == snapshot?.localNode
        let refusal = self.refusals.current[entry.id]
        return EnrolledWorkload(
            namespace: entry.id.namespace, name: entry.id.name, serviceAccount: entry.request.serviceAccount,
            labels: entry.request.labels, cgroup: entry.request.cgroup,
            networkNamespace: entry.request.networkNamespace,
            addresses: entry.workload.addresses.map(\.description), identity: identity,
            state: refusal != nil ? "refused" : isKnown && certificate != nil ? "enrolled" : "registering",
            reason: refusal, certificateExpiresAt: certificate?.notAfter,
            limits: snapshot?.workload(entry.id)?.limits?.figures, origin: entry.origin.description,
            unit: entry.request.unit, network: entry.options.isShared ? "shared" : "own",
            failMode: entry.request.failMode, uncaptured: uncaptured)
    }

    private static func describe(_ waiting: WorkloadRegistry.Waiting, snapshot: MeshSnapshot?) -> EnrolledWorkload {
        let identity = SPIFFEID(
            trustDomain: snapshot?.settings.trustDomain ?? "",
            subject: .workload(namespace: waiting.id.namespace, serviceAccount: waiting.request.serviceAccount))
        return EnrolledWorkload(
            namespace: waiting.id.namespace, name: waiting.id.name, serviceAccount: waiting.request.serviceAccount,
            labels: waiting.request.labels, cgroup: waiting.request.cgroup,
            networkNamespace: waiting.request.networkNamespace, addresses: waiting.request.addresses ?? [],
            identity: identity?.description ?? "",
            state: waiting.isAbsent ? "absent" : waiting.isEmpty ? "empty" : "failed",
            reason: waiting.reason, certificateExpiresAt: nil, origin: waiting.origin.description,
            unit: waiting.request.unit, failMode: waiting.request.failMode)
    }
}

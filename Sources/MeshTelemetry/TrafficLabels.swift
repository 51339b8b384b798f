// SPDX-License-Identifier: Apache-2.0

internal import MeshModel

/// What Istio calls the outcome of a connection, in the label `response_flags`.
enum ResponseFlags: String, Hashable {
    case none = "-"
    /// A policy denied it.
    case denied = "DENY"
    /// It never reached its server.
    case connectFailed = "CONNECT"

    init(_ reason: CloseReason?, wasOpen: Bool) {
        self = reason == .policyDenied ? .denied : wasOpen ? .none : .connectFailed
    }
}

/// The labels of Istio's standard TCP metrics, as ztunnel fills them.
struct TrafficLabels {
    /// Without the value of `reporter` and `response_flags`, which come first and last but one.
    private let common: [String]
    private let security: String

    static let names =
        ["reporter"]
        + [
            "workload", "canonical_service", "canonical_revision", "workload_namespace", "principal", "app", "version",
            "cluster",
        ].map { "source_" + $0 }
        + ["destination_service", "destination_service_namespace", "destination_service_name"]
        + [
            "workload", "canonical_service", "canonical_revision", "workload_namespace", "principal", "app", "version",
            "cluster",
        ].map { "destination_" + $0 }
        + ["request_protocol", "response_flags", "connection_security_policy"]

    /// - Parameters:
    ///   - snapshot: where names of applications and services come from.
    ///   - cluster: what workloads of the mesh have in the labels `*_cluster`.
    init(_ record: ConnectionRecord, _ snapshot: MeshSnapshot?, cluster: String) {
        let destination = record.destinationWorkload.flatMap { snapshot?.workload($0) }
        let service = record.service ?? destination.flatMap { Self.onlyService(of: $0, at: record.destination.port) }
        let known = service.flatMap { snapshot?.service($0) }
        self.common =
            Self.end(
                record.source, record.source.flatMap { snapshot?.workload($0) }, record.sourceIdentity,
                cluster: cluster)
            + [
                known?.hostname ?? service.map { "\($0.name).\($0.namespace).mesh.internal" } ?? Self.unknown,
                service?.namespace ?? Self.unknown, service?.name ?? Self.unknown,
            ] + Self.end(record.destinationWorkload, destination, record.destinationIdentity, cluster: cluster)
        self.security = record.wire == .splice ? "mutual_tls" : Self.unknown
    }

    static let unknown = "unknown"

    func values(reporter: String, flags: ResponseFlags) -> [String] {
        [reporter] + self.common + ["tcp", flags.rawValue, self.security]
    }

    private static func end(
        _ id: WorkloadID?, _ workload: Workload?, _ identity: SPIFFEID?, cluster: String
    ) -> [String] {
        let (name, revision) = (workload?.canonicalName ?? Self.unknown, workload?.canonicalRevision ?? Self.unknown)
        return [
            id?.name ?? Self.unknown, name, revision, id?.namespace ?? identity?.namespace ?? Self.unknown,
            identity?.description ?? Self.unknown, name, revision, id == nil ? Self.unknown : cluster,
        ]
    }

    /// The accepting node is told an endpoint's address, not the service: it is known where only one has that port.
    private static func onlyService(of workload: Workload, at port: UInt16) -> NamespacedName? {
        let services = workload.services.filter { $0.value.contains { $0.targetPort == port } }
        return services.count == 1 ? services.first?.key : nil
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshDiscovery
import MeshModel
import MeshTelemetry

/// The control plane's metrics.
package struct ControlMetrics: Sendable {
    package let registry: MetricsRegistry
    private let requests: Metric<Counter>
    private let pushes: Metric<Counter>
    private let resources: Metric<Counter>
    private let rejections: Metric<Counter>
    private let certificates: Metric<Counter>
    private let refusals: Metric<Counter>
    private let publications: Metric<Counter>
    private let publicationTime: Metric<Histogram>

    package init(registry: MetricsRegistry = MetricsRegistry()) {
        self.registry = registry
        self.requests = registry.counter(
            "nodemesh_control_requests_total", help: "Requests by interface, method and result.",
            labels: ["interface", "method", "code"])
        self.pushes = registry.counter(
            "nodemesh_control_discovery_pushes_total", help: "Discovery responses sent to nodes.", labels: ["type"])
        self.resources = registry.counter(
            "nodemesh_control_discovery_resources_total", help: "Resources and removals sent to nodes.",
            labels: ["type"])
        self.rejections = registry.counter(
            "nodemesh_control_discovery_rejections_total", help: "Discovery responses that nodes refused.",
            labels: ["type"])
        self.certificates = registry.counter(
            "nodemesh_control_certificates_issued_total", help: "Certificates issued.", labels: ["kind"])
        self.refusals = registry.counter(
            "nodemesh_control_refusals_total", help: "Calls, tokens and registrations that were refused.",
            labels: ["reason"])
        self.publications = registry.counter(
            "nodemesh_control_publications_total", help: "Times the mesh was computed anew.", labels: ["result"])
        self.publicationTime = registry.histogram(
            "nodemesh_control_publication_duration_seconds", help: "Time to compute the mesh anew.",
            buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2, 10])
        registry.gauge(
            "nodemesh_control_build_info", help: "Always 1; the version is a label.", labels: ["version"]
        ).with([Version.text]).set(1)
    }

    /// Why something was refused. The word is the metric's label.
    package enum Refusal: String, Sendable {
        case adminToken = "admin_token"
        case noCertificate = "no_certificate"
        case wrongCertificate = "wrong_certificate"
        case voidCertificate = "void_certificate"
        case joinToken = "join_token"
        case signingRequest = "signing_request"
        case identity
        case workload
        case resources
        /// More connections of nodes than are taken at once.
        case connections
        /// More certificates than one node may have signed.
        case issueBudget = "issue_budget"
    }

    package enum CertificateKind: String, Sendable { case node, workload }

    package func request(_ interface: String, _ method: String, _ code: String) {
        self.requests.with([interface, method, code]).increment()
    }

    package func pushed(_ type: String, resources: Int) {
        self.pushes.with([type]).increment()
        self.resources.with([type]).increment(by: UInt64(resources))
    }

    package func rejected(_ type: String) { self.rejections.with([type]).increment() }

    package func issued(_ kind: CertificateKind) { self.certificates.with([kind.rawValue]).increment() }

    package func refused(_ reason: Refusal, count: Int = 1) {
        self.refusals.with([reason.rawValue]).increment(by: UInt64(count))
    }

    package func published(_ isSuccess: Bool, seconds: Double) {
        self.publications.with([isSuccess ? "ok" : "error"]).increment()
        self.publicationTime.with().observe(seconds)
    }
}

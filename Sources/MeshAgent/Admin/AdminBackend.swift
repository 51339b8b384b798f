// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshExplain
import MeshModel
import MeshTelemetry

/// What the admin API shows and changes.
package protocol AdminBackend: Sendable {
    func status() async -> NodeStatus
    func workloads() async -> [EnrolledWorkload]
    func enrol(_ request: EnrolRequest) async throws(EnrolmentError) -> EnrolledWorkload
    func unenrol(_ id: WorkloadID) async throws(EnrolmentError)
    func templates() async -> [TemplateSummary]
    func enrol(_ template: EnrolTemplate) async throws(EnrolmentError) -> TemplateSummary
    func unenrol(template: String) async throws(EnrolmentError)
    /// Kept events and, with `follow`, those that come; nil when too many listen.
    func events(follow: Bool) -> (history: [NodeEvent], subscription: EventHub.Subscription?)?
    func bpf() async throws(ErrorResponse) -> BPFSummary
    func uncaptured() async -> [UncapturedConnection]
    func names() async -> DNSStatus
    /// - Throws: ``ErrorResponse`` when something is not what it should be.
    func lookup(
        name: String, type: String?, workload: String?, resolver: String?
    ) async throws(ErrorResponse) -> DNSLookup
    func connections() async -> [ConnectionSummary]
    func services() async -> [ServiceSummary]
    func certificates() async -> [CertificateSummary]
    func explain(source: String, destination: String) async throws(ExplainError) -> Explanation
    /// What the daemon logs.
    var logs: LogLevels { get }
    func usage() -> UsageSummary
    /// Prometheus text.
    func metrics() async -> String
    /// What is in force, secrets redacted.
    func configuration() -> ConfigurationSummary
}

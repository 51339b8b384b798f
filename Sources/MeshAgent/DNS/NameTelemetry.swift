// SPDX-License-Identifier: Apache-2.0

import MeshDNS
import MeshTelemetry

/// What is counted of names.
struct NameTelemetry: Sendable {
    private let queries: Metric<Counter>
    private let duration: Metric<Histogram>
    private let limited: Counter
    private let attempts: Metric<Counter>
    private let failures: Metric<Counter>

    /// From a tenth of a millisecond, which the mesh's own names take, to what clients wait.
    private static let buckets = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5]

    init(_ registry: MetricsRegistry) {
        self.queries = registry.counter(
            "nodemesh_dns_queries_total",
            help: "Queries of workloads by the type that was asked for, the answer, and where it came from.",
            labels: ["type", "result", "source"])
        self.duration = registry.histogram(
            "nodemesh_dns_query_duration_seconds", help: "From a query to its answer.", labels: ["source"],
            buckets: Self.buckets)
        self.limited = registry.counter(
            "nodemesh_dns_limited_total",
            help: "Queries that were refused since too many of the workload, or of all, waited for an answer."
        ).with()
        self.attempts = registry.counter(
            "nodemesh_dns_upstream_requests_total", help: "Queries that were sent to resolvers.", labels: ["transport"])
        self.failures = registry.counter(
            "nodemesh_dns_upstream_failures_total", help: "Resolvers that were of no use, by reason.",
            labels: ["upstream", "reason"])
    }

    func answered(_ report: QueryReport, nanoseconds: UInt64) {
        self.queries.with([Self.type(report.type), Self.result(report), report.source.rawValue]).increment()
        self.duration.with([report.source.rawValue]).observe(Double(nanoseconds) / 1e9)
        if report.isLimited { self.limited.increment() }
    }

    func asked(isStream: Bool) { self.attempts.with([isStream ? "tcp" : "udp"]).increment() }

    func failed(_ upstream: Upstream, _ failure: UpstreamFailure) {
        self.failures.with([upstream.description, failure.rawValue]).increment()
    }

    /// Clients choose the type: those without a name are one.
    private static func type(_ type: RecordType?) -> String { (type?.name ?? "other").lowercased() }

    static func result(_ report: QueryReport) -> String {
        if report.isEmpty { return "nodata" }
        return report.code.rawValue > 5 && report.code != .badVersion ? "other" : report.code.description.lowercased()
    }

    func watch(_ registry: MetricsRegistry, _ figures: @escaping @Sendable () -> NameServerStatus) {
        registry.collect(
            "nodemesh_dns_cache_entries", .gauge, help: "Answers that are remembered, at most a second old."
        ) {
            [([], Double(figures().cacheEntries))]
        }
        registry.collect("nodemesh_dns_cache_bytes", .gauge, help: "Bytes of them.") {
            [([], Double(figures().cacheBytes))]
        }
        registry.collect("nodemesh_dns_queries_waiting", .gauge, help: "Queries that wait for a resolver.") {
            [([], Double(figures().waiting))]
        }
    }
}

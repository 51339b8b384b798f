// SPDX-License-Identifier: Apache-2.0

internal import MeshModel

/// The metrics of connections.
struct ConnectionFamilies: Sendable {
    static let labels = [
        "direction", "source_workload", "source_namespace", "source_identity", "destination_workload",
        "destination_namespace", "destination_service", "destination_identity", "connection_security_policy",
    ]
    static let pathLabels = [
        "direction", "source_workload", "source_namespace", "destination_workload", "destination_namespace",
        "peer_node",
    ]
    /// Bounds of the buckets of phases: a local step takes tens of microseconds, a handshake a millisecond, a repeated
    /// SYN a second.
    static let phaseBuckets = [
        0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    ]
    let opened: Metric<Counter>
    let ended: Metric<Counter>
    let sent: Metric<Counter>
    let received: Metric<Counter>
    let closed: Metric<Counter>
    let failed: Metric<Counter>
    let open: [ConnectionDirection: Gauge]
    let duration: [ConnectionDirection: Histogram]
    let phases: [ConnectionDirection: [ConnectionPhase: Histogram]]
    let roundTripTime: Metric<Gauge>
    let roundTripTimes: Histogram
    let segments: Metric<Counter>
    let retransmitted: Metric<Counter>
    let resets: Metric<Counter>

    init(_ registry: MetricsRegistry) {
        self.opened = registry.counter(
            "istio_tcp_connections_opened_total", help: "The total number of TCP connections opened.",
            labels: TrafficLabels.names)
        self.ended = registry.counter(
            "istio_tcp_connections_closed_total", help: "The total number of TCP connections closed.",
            labels: TrafficLabels.names)
        self.sent = registry.counter(
            "istio_tcp_sent_bytes_total",
            help: "Bytes from servers to clients: what Istio calls sent during response, for both reporters.",
            labels: TrafficLabels.names)
        self.received = registry.counter(
            "istio_tcp_received_bytes_total",
            help: "Bytes from clients to servers: what Istio calls received during request, for both reporters.",
            labels: TrafficLabels.names)
        self.closed = registry.counter(
            "nodemesh_connections_closed_total", help: "Opened connections that have ended, by reason.",
            labels: Self.labels + ["reason"])
        self.failed = registry.counter(
            "nodemesh_connections_failed_total",
            help: "Connections that were refused or never reached their destination, by reason and deciding policy.",
            labels: Self.labels + ["reason", "policy"])
        let open = registry.gauge(
            "nodemesh_connections_open", help: "Connections that are open now.", labels: ["direction"])
        let duration = registry.histogram(
            "nodemesh_connection_duration_seconds", help: "Lifetime of opened connections.", labels: ["direction"],
            buckets: [0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 86400])
        let phases = registry.histogram(
            "nodemesh_connection_phase_seconds",
            help: "How long the phases of connections took on this node; see the reference for what each is.",
            labels: ["direction", "phase"], buckets: Self.phaseBuckets)
        let directions: [ConnectionDirection] = [.outbound, .inbound]
        self.open = Dictionary(uniqueKeysWithValues: directions.map { ($0, open.with([$0.rawValue])) })
        self.duration = Dictionary(uniqueKeysWithValues: directions.map { ($0, duration.with([$0.rawValue])) })
        self.phases = Dictionary(
            uniqueKeysWithValues: directions.map { direction in
                let histograms = ConnectionPhase.allCases.map {
                    ($0, phases.with([direction.rawValue, $0.rawValue]))
                }
                return (direction, Dictionary(uniqueKeysWithValues: histograms))
            })
        self.roundTripTime = registry.gauge(
            "nodemesh_tcp_smoothed_rtt_seconds",
            help: "The kernel's smoothed round-trip time to the peer node or server, of the last connection looked at.",
            labels: Self.pathLabels)
        self.roundTripTimes = registry.histogram(
            "nodemesh_tcp_rtt_seconds",
            help: "Smoothed round-trip times to peer nodes and servers, of connections that have ended.",
            buckets: Self.phaseBuckets
        ).with()
        self.segments = registry.counter(
            "nodemesh_tcp_segments_sent_total", help: "TCP segments sent to the peer node or server.",
            labels: Self.pathLabels)
        self.retransmitted = registry.counter(
            "nodemesh_tcp_segments_retransmitted_total",
            help: "TCP segments that had to be sent again to the peer node or server.", labels: Self.pathLabels)
        self.resets = registry.counter(
            "nodemesh_tcp_resets_total", help: "Opened connections that ended with a reset, by who reset them.",
            labels: Self.pathLabels + ["by"])
    }
}

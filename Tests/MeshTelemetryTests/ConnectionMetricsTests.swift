// SPDX-License-Identifier: Apache-2.0

import MeshModel
import MeshTelemetry
import Testing

@Suite struct ConnectionMetricsTests {
    private let registry = MetricsRegistry()
    private let metrics: ConnectionMetrics
    private static let labels =
        #"direction="outbound",source_workload="web",source_namespace="shop","#
        + #"source_identity="spiffe://mesh.internal/ns/shop/sa/web",destination_workload="backend-1","#
        + #"destination_namespace="shop",destination_service="shop/backend","#
        + #"destination_identity="spiffe://mesh.internal/ns/shop/sa/backend",connection_security_policy="mutual_tls""#

    /// The labels of Istio's metrics, in their order.
    private static func istio(_ reporter: String, _ flags: String = "-", security: String = "mutual_tls") -> String {
        #"reporter="\#(reporter)",source_workload="web",source_canonical_service="web-app","#
            + #"source_canonical_revision="v2",source_workload_namespace="shop","#
            + #"source_principal="spiffe://mesh.internal/ns/shop/sa/web",source_app="web-app",source_version="v2","#
            + #"source_cluster="Kubernetes",destination_service="backend.shop.mesh.internal","#
            + #"destination_service_namespace="shop",destination_service_name="backend","#
            + #"destination_workload="backend-1",destination_canonical_service="backend","#
            + #"destination_canonical_revision="latest",destination_workload_namespace="shop","#
            + #"destination_principal="spiffe://mesh.internal/ns/shop/sa/backend",destination_app="backend","#
            + #"destination_version="latest",destination_cluster="Kubernetes",request_protocol="tcp","#
            + #"response_flags="\#(flags)",connection_security_policy="\#(security)""#
    }

    init() throws {
        self.metrics = ConnectionMetrics(registry: self.registry)
        let address = try #require(IPAddress("10.0.0.2"))
        let (web, backend) = (
            WorkloadID(namespace: "shop", name: "web"), WorkloadID(namespace: "shop", name: "backend-1")
        )
        let service = NamespacedName(namespace: "shop", name: "backend")
        self.metrics.update(
            MeshSnapshot(
                settings: MeshSettings(
                    trustDomain: "mesh.internal", prefixes: [], trustBundle: [], rootNamespace: "mesh"),
                localNode: "n1",
                workloads: [
                    Workload(
                        id: web, addresses: [], node: "n1", serviceAccount: "web", trustDomain: "mesh.internal",
                        canonicalName: "web-app", canonicalRevision: "v2"),
                    Workload(
                        id: backend, addresses: [address], node: "n2", serviceAccount: "backend",
                        trustDomain: "mesh.internal", services: [service: [.init(servicePort: 80, targetPort: 8080)]],
                        canonicalName: "backend"),
                ],
                services: [Service(id: service, addresses: [], ports: [.init(servicePort: 80, targetPort: 8080)])]))
    }

    private func value(_ name: String, _ more: String = "", labels: String = Self.labels) -> String? {
        let start = "\(name){\(labels)\(more)} "
        return self.registry.render().split(separator: "\n").first { $0.hasPrefix(start) }.map {
            String($0.dropFirst(start.count))
        }
    }

    private func istio(_ name: String, _ reporter: String = "source", _ flags: String = "-") -> String? {
        self.value("istio_tcp_\(name)_total", labels: Self.istio(reporter, flags))
    }

    private func progress(_ id: UInt64, _ sent: UInt64, _ received: UInt64) throws {
        self.metrics.progress(
            try record(id) {
                $0.bytesSent = sent
                $0.bytesReceived = received
            })
    }

    @Test func aConnectionFromOpenToClose() throws {
        var connection = try record(1)
        self.metrics.opened(connection)
        #expect(self.istio("connections_opened") == "1")
        #expect(self.istio("connections_closed") == "0")
        #expect(self.registry.render().contains(#"nodemesh_connections_open{direction="outbound"} 1"#))
        #expect(self.metrics.openCount == 1)

        try self.progress(1, 100, 1000)
        try self.progress(1, 100, 3000)
        // Istio's words are the server's: it receives requests and sends responses.
        #expect(self.istio("received_bytes") == "100")
        #expect(self.istio("sent_bytes") == "3000")

        connection.bytesSent = 150
        connection.bytesReceived = 3000
        connection.reason = .completed
        connection.duration = 500_000_000
        connection.phases[.tls] = 2000
        self.metrics.closed(connection)
        #expect(self.value("nodemesh_connections_closed_total", #",reason="completed""#) == "1")
        #expect(self.istio("connections_closed") == "1")
        #expect(self.istio("received_bytes") == "150")
        let text = self.registry.render()
        #expect(text.contains(#"nodemesh_connections_open{direction="outbound"} 0"#))
        #expect(text.contains(#"nodemesh_connection_duration_seconds_bucket{direction="outbound",le="1"} 1"#))
        let phase = #"nodemesh_connection_phase_seconds_bucket{direction="outbound",phase="tls",le="#
        #expect(text.contains(phase + #""0.001"} 0"#) && text.contains(phase + #""0.0025"} 1"#))
        #expect(text.contains(#"nodemesh_connection_phase_seconds_count{direction="outbound",phase="dial"} 0"#))
        #expect(self.metrics.openCount == 0)
    }

    @Test func reportsThatAreLateRepeatedOrSmallerChangeNothing() throws {
        let connection = try record(1) { $0.bytesSent = 10 }
        self.metrics.opened(connection)
        self.metrics.opened(connection)
        try self.progress(1, 5, 0)
        try self.progress(2, 99, 99)
        #expect(self.istio("connections_opened") == "1")
        #expect(self.istio("received_bytes") == "10")
        self.metrics.closed(connection)
        try self.progress(1, 500, 500)
        #expect(self.istio("received_bytes") == "10")
    }

    @Test func aPolicyChangeIsSeenInTheFlags() throws {
        let connection = try record(1) { $0.reason = .policyDenied }
        self.metrics.opened(connection)
        self.metrics.closed(connection)
        #expect(self.istio("connections_closed", "source", "DENY") == "1")
    }

    /// Nobody else tells what the other end of a connection inside this node sees.
    @Test(arguments: [Wire.local, .direct]) func aConnectionInsideTheNodeIsToldOfFromBothEnds(_ wire: Wire) throws {
        let connection = try record(1) {
            $0.wire = wire
            $0.bytesReceived = 7
        }
        self.metrics.opened(connection)
        self.metrics.closed(connection)
        for reporter in ["source", "destination"] {
            let labels = Self.istio(reporter, security: "unknown")
            #expect(self.value("istio_tcp_connections_opened_total", labels: labels) == "1")
            #expect(self.value("istio_tcp_sent_bytes_total", labels: labels) == "7")
        }
    }

    @Test func theAcceptingNodeFindsTheOnlyServiceOfThePort() throws {
        let connection = try record(1) {
            $0.direction = .inbound
            $0.service = nil
            $0.destination = try #require(SocketAddress("10.0.0.2:8080"))
        }
        self.metrics.opened(connection)
        #expect(self.istio("connections_opened", "destination") == "1")
        self.metrics.opened(
            try record(2) {
                $0.direction = .inbound
                $0.service = nil
                $0.destination = try #require(SocketAddress("10.0.0.2:9090"))
            })
        #expect(self.registry.render().contains(#"destination_service="unknown""#))
    }

    @Test func theWayToThePeerNode() throws {
        let path =
            #"{direction="outbound",source_workload="web",source_namespace="shop",destination_workload="backend-1","#
            + #"destination_namespace="shop",peer_node="n2""#
        self.metrics.opened(try record(1))
        for (segments, retransmitted) in [(10, 1), (25, 1), (20, 0), (30, 4)] as [(UInt32, UInt32)] {
            self.metrics.progress(
                try record(1) {
                    $0.tcp = TCPHealth(
                        smoothedRTT: 1500, leastRTT: 1000, sentSegments: segments, retransmittedSegments: retransmitted)
                })
        }
        self.metrics.closed(
            try record(1) {
                $0.reason = .tunnelReset
                $0.tcp = TCPHealth(smoothedRTT: 2500, leastRTT: 1000, sentSegments: 31, retransmittedSegments: 4)
            })
        let text = self.registry.render()
        #expect(text.contains("nodemesh_tcp_smoothed_rtt_seconds\(path)} 0.0025\n"))
        #expect(text.contains("nodemesh_tcp_segments_sent_total\(path)} 31\n"))
        #expect(text.contains("nodemesh_tcp_segments_retransmitted_total\(path)} 4\n"))
        #expect(text.contains("nodemesh_tcp_resets_total\(path),by=\"peer_node\"} 1\n"))
        #expect(text.contains("nodemesh_tcp_rtt_seconds_sum 0.0025\n"))
    }

    @Test func manyKindsOfConnectionsEndInOneSeries() throws {
        let registry = MetricsRegistry(maxSeries: 10)
        let metrics = ConnectionMetrics(registry: registry)
        for id in 0..<50 as Range<UInt64> {
            metrics.opened(try record(id) { $0.source = NamespacedName(namespace: "shop", name: "w\(id)") })
        }
        let opened = registry.render().split(separator: "\n").filter {
            $0.hasPrefix("istio_tcp_connections_opened_total{")
        }
        #expect(opened.count == 11)
        #expect(opened.contains { $0.contains(#"source_workload="other""#) && $0.hasSuffix(" 40") })
        #expect(
            registry.render().contains(
                #"nodemesh_metrics_overflow_total{metric="istio_tcp_connections_opened_total"} 40"#))
    }

    @Test func aConnectionThatNeverOpenedHasFailed() throws {
        self.metrics.closed(
            try record(1) {
                $0.reason = .policyDenied
                $0.policy = NamespacedName(namespace: "shop", name: "deny-web")
            })
        #expect(
            self.value("nodemesh_connections_failed_total", #",reason="policy_denied",policy="shop/deny-web""#) == "1")
        // As with ztunnel, what was refused counts as opened and closed.
        #expect(self.istio("connections_opened") == "1")
        #expect(self.istio("connections_closed", "source", "DENY") == "1")
        #expect(self.registry.render().contains(#"nodemesh_connections_open{direction="outbound"} 0"#))
    }

    @Test func whatIsNotKnownIsSaid() throws {
        let connection = ConnectionRecord(
            id: 7, direction: .inbound, sourceAddress: try #require(SocketAddress("192.0.2.1:1")),
            destination: try #require(SocketAddress("10.0.0.2:80")), openedAt: 0)
        self.metrics.opened(connection)
        let line = try #require(
            self.registry.render().split(separator: "\n").first {
                $0.hasPrefix("istio_tcp_connections_opened_total{")
            })
        let values = line.split(separator: "\"").enumerated().filter { $0.offset % 2 == 1 }.map { String($0.element) }
        #expect(
            values == ["destination"] + Array(repeating: "unknown", count: 19) + ["tcp", "-", "unknown"])
    }

    @Test(arguments: CloseReason.allCases) func everyReasonIsCounted(_ reason: CloseReason) throws {
        let connection = try record(1) { $0.reason = reason }
        self.metrics.closed(connection)
        self.metrics.opened(connection)
        self.metrics.closed(connection)
        #expect(self.value("nodemesh_connections_closed_total", #",reason="\#(reason.rawValue)""#) == "1")
        #expect(
            self.value("nodemesh_connections_failed_total", #",reason="\#(reason.rawValue)",policy="none""#) == "1")
    }
}

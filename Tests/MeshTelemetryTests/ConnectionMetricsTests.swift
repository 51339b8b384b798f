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

    init() { self.metrics = ConnectionMetrics(registry: self.registry) }

    private func value(_ name: String, _ more: String = "") -> String? {
        let start = "\(name){\(Self.labels)\(more)} "
        return self.registry.render().split(separator: "\n").first { $0.hasPrefix(start) }.map {
            String($0.dropFirst(start.count))
        }
    }

    @Test func aConnectionFromOpenToClose() throws {
        var connection = try record(1)
        self.metrics.opened(connection)
        #expect(self.value("nodemesh_connections_opened_total") == "1")
        #expect(self.registry.render().contains(#"nodemesh_connections_open{direction="outbound"} 1"#))
        #expect(self.metrics.openCount == 1)

        self.metrics.progress(id: 1, sent: 100, received: 1000)
        self.metrics.progress(id: 1, sent: 100, received: 3000)
        #expect(self.value("nodemesh_connection_bytes_sent_total") == "100")
        #expect(self.value("nodemesh_connection_bytes_received_total") == "3000")

        connection.bytesSent = 150
        connection.bytesReceived = 3000
        connection.reason = .completed
        connection.duration = 500_000_000
        self.metrics.closed(connection)
        #expect(self.value("nodemesh_connections_closed_total", #",reason="completed""#) == "1")
        #expect(self.value("nodemesh_connection_bytes_sent_total") == "150")
        #expect(self.registry.render().contains(#"nodemesh_connections_open{direction="outbound"} 0"#))
        #expect(
            self.registry.render().contains(
                #"nodemesh_connection_duration_seconds_bucket{direction="outbound",le="1"} 1"#))
        #expect(self.metrics.openCount == 0)
    }

    @Test func reportsThatAreLateRepeatedOrSmallerChangeNothing() throws {
        let connection = try record(1) { $0.bytesSent = 10 }
        self.metrics.opened(connection)
        self.metrics.opened(connection)
        self.metrics.progress(id: 1, sent: 5, received: 0)
        self.metrics.progress(id: 2, sent: 99, received: 99)
        #expect(self.value("nodemesh_connections_opened_total") == "1")
        #expect(self.value("nodemesh_connection_bytes_sent_total") == "10")
        self.metrics.closed(connection)
        self.metrics.progress(id: 1, sent: 500, received: 500)
        #expect(self.value("nodemesh_connection_bytes_sent_total") == "10")
    }

    @Test func aConnectionThatNeverOpenedHasFailed() throws {
        self.metrics.closed(
            try record(1) {
                $0.reason = .policyDenied
                $0.policy = NamespacedName(namespace: "shop", name: "deny-web")
            })
        #expect(
            self.value("nodemesh_connections_failed_total", #",reason="policy_denied",policy="shop/deny-web""#) == "1")
        #expect(self.value("nodemesh_connections_opened_total") == nil)
        #expect(!self.registry.render().contains("nodemesh_connections_open{"))
    }

    @Test func whatIsNotKnownIsSaid() throws {
        let connection = ConnectionRecord(
            id: 7, direction: .inbound, sourceAddress: try #require(SocketAddress("192.0.2.1:1")),
            destination: try #require(SocketAddress("10.0.0.2:80")), openedAt: 0)
        self.metrics.opened(connection)
        #expect(
            self.registry.render().contains(
                #"nodemesh_connections_opened_total{direction="inbound",source_workload="unknown","#
                    + #"source_namespace="unknown",source_identity="unknown",destination_workload="unknown","#
                    + #"destination_namespace="unknown",destination_service="unknown","#
                    + #"destination_identity="unknown",connection_security_policy="none"} 1"#))
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

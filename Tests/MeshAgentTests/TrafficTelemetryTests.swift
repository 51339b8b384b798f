// SPDX-License-Identifier: Apache-2.0

import Logging
import MeshModel
import MeshProxy
import MeshTelemetry
import Testing

@testable import MeshAgent

@Suite struct TrafficTelemetryTests {
    @Test func everyKindOfHandshakeHasItsCounterFromTheBegin() throws {
        let telemetry = try ConnectionTelemetry(accessLog: nil)
        telemetry.watchLoops(
            of: Proxy(
                configuration: ProxyConfiguration(loops: 1, tunnelListener: nil),
                hooks: ProxyHooks(originalDestination: { _ in nil }), logger: Logger(label: "test")))
        let text = telemetry.registry.render()
        for kind in ["full", "resumed", "shed"] {
            #expect(text.contains("nodemesh_tunnel_handshakes_total{kind=\"\(kind)\"} 0"))
        }
        for name in ["reused_total", "stale_total", "prepared_total", "kernel_total", "kernel_refused_total", "idle"] {
            #expect(text.contains("nodemesh_tunnels_\(name) 0"))
        }
    }

    @Test func everyLimitHasItsCounterFromTheBegin() throws {
        let telemetry = try ConnectionTelemetry(accessLog: nil)
        telemetry.watch(
            Proxy(
                configuration: ProxyConfiguration(loops: 1, tunnelListener: nil),
                hooks: ProxyHooks(originalDestination: { _ in nil }), logger: Logger(label: "test")))
        let text = telemetry.registry.render()
        for limit in TrafficStatistics.Limit.allCases {
            #expect(text.contains("nodemesh_limit_refusals_total{limit=\"\(limit.rawValue)\"} 0"))
        }
        for name in ["flow_pauses_total", "retries_total", "retries_denied_total"] {
            #expect(text.contains("nodemesh_\(name) 0"))
        }
        for name in ["endpoint_ejections_total", "endpoints_ejected", "service_connections"] {
            #expect(text.contains("# TYPE nodemesh_\(name) "))
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshProxy
import MeshTelemetry

extension ConnectionTelemetry {
    /// What the loops do beside connections; at most a second old.
    package func watchLoops(of proxy: Proxy) {
        func count(_ name: String, _ help: String, _ read: @escaping @Sendable (ProxyStatistics) -> UInt64) {
            self.registry.collect(name, .counter, help: help, labels: []) {
                [([], Double(read(proxy.recentStatistics)))]
            }
        }
        func gauge(_ name: String, _ help: String, _ read: @escaping @Sendable (ProxyStatistics) -> Int) {
            self.registry.collect(name, .gauge, help: help, labels: []) {
                [([], Double(read(proxy.recentStatistics)))]
            }
        }
        self.registry.collect(
            "nodemesh_tunnel_handshakes_total", .counter,
            help: "TLS handshakes of tunnels: full ones, resumed ones, and those refused since too many waited.",
            labels: ["kind"]
        ) {
            let statistics = proxy.recentStatistics
            return [
                (["full"], Double(statistics.handshakesFull)), (["resumed"], Double(statistics.handshakesResumed)),
                (["shed"], Double(statistics.handshakesShed)),
            ]
        }
        count("nodemesh_tunnels_reused_total", "Connections that took a tunnel which stood ready.") { $0.tunnelsReused }
        count("nodemesh_tunnels_stale_total", "Tunnels that the peer had given up when they were taken.") {
            $0.tunnelsStale
        }
        count("nodemesh_tunnels_prepared_total", "Tunnels made in advance.") { $0.tunnelsPrepared }
        count("nodemesh_tunnels_kernel_total", "Tunnels handed to kernel TLS.") { $0.kernelTunnels }
        count("nodemesh_tunnels_kernel_refused_total", "Tunnels that kernel TLS did not take.") { $0.kernelRefusals }
        gauge("nodemesh_tunnels_idle", "Tunnels without a connection.") { $0.idleTunnels }
        gauge("nodemesh_buffers_lent", "Buffers that hold bytes on their way.") { $0.buffersLent }
        gauge("nodemesh_pipes_lent", "Pipes lent to connections that splice.") { $0.pipesLent }
        count("nodemesh_loop_turns_total", "Turns of the event loops.") { $0.turns }
        count("nodemesh_loop_slow_turns_total", "Turns that took more than a millisecond.") { $0.slowTurns }
        func histogram(_ name: String, _ help: String, _ read: @escaping @Sendable (ProxyStatistics) -> DurationBuckets)
        {
            self.registry.collectHistogram(name, help: help, buckets: DurationBuckets.bounds) {
                let value = read(proxy.recentStatistics).cumulative
                return [([], value.counts, value.sum)]
            }
        }
        histogram("nodemesh_loop_turn_seconds", "How long turns of the event loops took, waiting left out.") {
            $0.turnTimes
        }
        histogram(
            "nodemesh_loop_lag_seconds",
            "How long what was handed to an event loop waited until the loop began with it."
        ) { $0.jobDelays }
        count("nodemesh_connections_accepted_total", "Connections that the loops have accepted.") { $0.accepted }
        count(
            "nodemesh_connections_refused_by_limit_total",
            "Connections refused since the node had too many, or no descriptor was left."
        ) { $0.refusedByLimit }
    }
}

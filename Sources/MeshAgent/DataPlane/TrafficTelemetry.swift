// SPDX-License-Identifier: Apache-2.0

import MeshModel
import MeshProxy
import MeshTelemetry

extension ConnectionTelemetry {
    /// What traffic policy did, read from the proxy whenever the metrics are.
    package func watch(_ proxy: Proxy) {
        self.registry.collect(
            "nodemesh_limit_refusals_total", .counter,
            help: "Connections refused by a declared limit, by limit.", labels: ["limit"]
        ) {
            proxy.trafficStatistics.refused.map { ([$0.key.rawValue], Double($0.value)) }
        }
        self.registry.collect(
            "nodemesh_flow_pauses_total", .counter,
            help: "How often a connection waited for its workload's bytes per second.", labels: []
        ) { [([], Double(proxy.trafficStatistics.pauses))] }
        self.registry.collect(
            "nodemesh_retries_total", .counter,
            help: "Attempts at another endpoint after one had failed.", labels: []
        ) { [([], Double(proxy.trafficStatistics.retries))] }
        self.registry.collect(
            "nodemesh_retries_denied_total", .counter,
            help: "Connections that failed without another attempt since too many had needed one.", labels: []
        ) { [([], Double(proxy.trafficStatistics.retriesDenied))] }
        self.registry.collect(
            "nodemesh_endpoint_ejections_total", .counter,
            help: "Endpoints set aside after failures, by service, as long as this node knows it.", labels: ["service"]
        ) {
            proxy.serviceUsage.map { ([$0.key.description], Double($0.value.ejections)) }
        }
        self.registry.collect(
            "nodemesh_endpoints_ejected", .gauge, help: "Endpoints that are set aside now, by service.",
            labels: ["service"]
        ) {
            var counts: [NamespacedName: Int] = [:]
            for service in proxy.serviceUsage.keys { counts[service] = 0 }
            for ejection in proxy.ejections { counts[ejection.service, default: 0] += 1 }
            return counts.map { ([$0.key.description], Double($0.value)) }
        }
        self.registry.collect(
            "nodemesh_service_connections", .gauge,
            help: "Connections of this node to a service, by state: open ones include those that are being made.",
            labels: ["service", "state"]
        ) {
            proxy.serviceUsage.flatMap { service, usage in
                [
                    ([service.description, "open"], Double(usage.open)),
                    ([service.description, "pending"], Double(usage.pending)),
                ]
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

package import MeshModel

/// `networking.istio.io/v1` DestinationRule, as far as it is about connections: how clients choose the endpoints of a
/// service, how many connections they open and when they set an endpoint aside.
package struct DestinationRuleResource: Codable, Hashable, Sendable {
    package struct Spec: Codable, Hashable, Sendable {
        package var host: String
        package var trafficPolicy: TrafficPolicy?

        package init(host: String, trafficPolicy: TrafficPolicy? = nil) {
            self.host = host
            self.trafficPolicy = trafficPolicy
        }
    }

    package struct TrafficPolicy: Codable, Hashable, Sendable {
        package var connectionPool: ConnectionPool?
        package var loadBalancer: LoadBalancer?
        package var outlierDetection: Outliers?

        package init(
            connectionPool: ConnectionPool? = nil, loadBalancer: LoadBalancer? = nil, outlierDetection: Outliers? = nil
        ) {
            self.connectionPool = connectionPool
            self.loadBalancer = loadBalancer
            self.outlierDetection = outlierDetection
        }
    }

    package struct ConnectionPool: Codable, Hashable, Sendable {
        package var tcp: TCP?

        package init(tcp: TCP? = nil) { self.tcp = tcp }
    }

    package struct TCP: Codable, Hashable, Sendable {
        package var maxConnections: UInt32?
        /// See ``Measure/duration(_:)``.
        package var connectTimeout: String?

        package init(maxConnections: UInt32? = nil, connectTimeout: String? = nil) {
            self.maxConnections = maxConnections
            self.connectTimeout = connectTimeout
        }
    }

    package struct LoadBalancer: Codable, Hashable, Sendable {
        /// All mean the choice between two endpoints taken at random, the one with less to do.
        package enum Simple: String, Codable, Hashable, Sendable, CaseIterable {
            case leastRequest = "LEAST_REQUEST"
            case leastConnections = "LEAST_CONN"
            case unspecified = "UNSPECIFIED"
        }

        package var simple: Simple?
        package var localityLbSetting: LocalitySetting?

        package init(simple: Simple? = nil, localityLbSetting: LocalitySetting? = nil) {
            self.simple = simple
            self.localityLbSetting = localityLbSetting
        }
    }

    package struct LocalitySetting: Codable, Hashable, Sendable {
        /// nil: true, since the setting is there.
        package var enabled: Bool?
        /// Label keys; see ``scopes``. Empty: region, zone and subzone.
        @OmittedWhenEmpty package var failoverPriority: [String]

        package init(enabled: Bool? = nil, failoverPriority: [String] = []) {
            self.enabled = enabled
            self.failoverPriority = failoverPriority
        }

        /// What the labels of `failoverPriority` stand for.
        package static let scopes: KeyValuePairs<String, LoadBalancing.Scope> = [
            "topology.kubernetes.io/region": .region, "topology.kubernetes.io/zone": .zone,
            "topology.istio.io/subzone": .subzone, "kubernetes.io/hostname": .node,
            "topology.istio.io/network": .network, "topology.istio.io/cluster": .cluster,
        ]

        package var loadBalancing: LoadBalancing {
            if self.enabled == false { return LoadBalancing() }
            let scopes = self.failoverPriority.compactMap { label in Self.scopes.first { $0.key == label }?.value }
            return LoadBalancing(preference: scopes.isEmpty ? [.region, .zone, .subzone] : scopes, mode: .failover)
        }
    }

    package struct Outliers: Codable, Hashable, Sendable {
        /// nil: 5.
        package var consecutiveLocalOriginFailures: UInt32?
        /// nil: 30 s. See ``Measure/duration(_:)``.
        package var baseEjectionTime: String?
        /// nil: 10.
        package var maxEjectionPercent: UInt32?

        package init(
            consecutiveLocalOriginFailures: UInt32? = nil, baseEjectionTime: String? = nil,
            maxEjectionPercent: UInt32? = nil
        ) {
            self.consecutiveLocalOriginFailures = consecutiveLocalOriginFailures
            self.baseEjectionTime = baseEjectionTime
            self.maxEjectionPercent = maxEjectionPercent
        }

        package var detection: OutlierDetection {
            var result = OutlierDetection()
            if let value = self.consecutiveLocalOriginFailures { result.consecutiveFailures = value }
            if let value = self.baseEjectionTime.flatMap(Measure.duration) { result.baseEjectionTime = value }
            if let value = self.maxEjectionPercent { result.maxEjectionPercent = value }
            result.maxEjectionTime = max(result.maxEjectionTime, result.baseEjectionTime)
            return result
        }
    }

    package private(set) var apiVersion = ResourceKind.destinationRule.apiVersion
    package private(set) var kind = ResourceKind.destinationRule
    package var metadata: ResourceMetadata
    package var spec: Spec

    package init(metadata: ResourceMetadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
    }

    package var id: NamespacedName { self.metadata.id }

    /// nil when the stored text names no service.
    package var host: DestinationHost? { DestinationHost(self.spec.host, namespace: self.metadata.namespace) }

    /// What it says of the services it names.
    package var policy: DestinationPolicy {
        let tcp = self.spec.trafficPolicy?.connectionPool?.tcp
        return DestinationPolicy(
            maxConnections: tcp?.maxConnections, connectTimeout: tcp?.connectTimeout.flatMap(Measure.duration),
            outlierDetection: self.spec.trafficPolicy?.outlierDetection?.detection)
    }

    /// nil: it leaves that to the service.
    package var loadBalancing: LoadBalancing? {
        self.spec.trafficPolicy?.loadBalancer?.localityLbSetting?.loadBalancing
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshModel
import MeshResources
import Testing

@Suite struct EffectiveTrafficPolicyTests {
    private static let root = "nodemesh-system"
    private static let api = NamespacedName(namespace: "shop", name: "api")

    private func rule(_ host: String, in namespace: String, max: UInt32? = nil) -> DestinationRuleResource {
        DestinationRuleResource(
            metadata: .init(name: "r", namespace: namespace),
            spec: .init(
                host: host, trafficPolicy: .init(connectionPool: .init(tcp: .init(maxConnections: max)))))
    }

    private func limits(
        _ service: String? = nil, in namespace: String = "shop", labels: [String: String]? = nil,
        destination: ConnectionLimitsResource.Destination? = nil, workload: ConnectionLimitsResource.Share? = nil
    ) -> ConnectionLimitsResource {
        ConnectionLimitsResource(
            metadata: .init(name: "l", namespace: namespace),
            spec: .init(
                targetRef: service.map { .init(name: $0) }, destination: destination,
                selector: labels.map { .init(matchLabels: $0) }, workload: workload))
    }

    private func effective(
        _ rules: [DestinationRuleResource] = [], _ limits: [ConnectionLimitsResource] = []
    ) -> EffectiveTrafficPolicy {
        EffectiveTrafficPolicy(rules: rules, limits: limits, rootNamespace: Self.root)
    }

    @Test func nothingSaidIsNoPolicy() {
        let policy = self.effective([self.rule("api", in: "shop")])
        #expect(policy.policy(for: Self.api) == nil)
        #expect(policy.limits(labels: [:], namespace: "shop") == nil)
    }

    /// Each is put before all that follow it.
    @Test func precedence() {
        let ordered = [
            self.rule("api", in: "shop", max: 1), self.rule("*.shop.mesh.internal", in: "shop", max: 2),
            self.rule("api.shop.mesh.internal", in: Self.root, max: 3),
            self.rule("*.shop.mesh.internal", in: Self.root, max: 4), self.rule("*", in: Self.root, max: 5),
        ]
        for index in ordered.indices {
            for rules in [Array(ordered[index...]), ordered[index...].reversed()] {
                #expect(
                    self.effective(rules).policy(for: Self.api)?.maxConnections
                        == ordered[index].policy.maxConnections)
            }
        }
    }

    @Test func aRuleOfAnotherNamespaceDoesNotCount() {
        let policy = self.effective([
            self.rule("api.shop", in: "ops", max: 1), self.rule("*", in: "shop", max: 2),
            self.rule("web", in: "shop", max: 3),
        ])
        #expect(policy.policy(for: Self.api) == nil)
    }

    @Test func ofTwoRulesForOneHostTheFirstCounts() {
        let rules = [self.rule("api", in: "shop", max: 9), self.rule("api.shop.svc", in: "shop", max: 1)]
        #expect(self.effective(rules).policy(for: Self.api)?.maxConnections == 9)
    }

    @Test func theRootNamespaceIsANamespaceToo() {
        let service = NamespacedName(namespace: Self.root, name: "dns")
        #expect(self.effective([self.rule("*", in: Self.root, max: 7)]).policy(for: service)?.maxConnections == 7)
    }

    @Test func theStrictestOfEachFigureCounts() {
        let policy = self.effective(
            [self.rule("api", in: "shop", max: 50)],
            [
                self.limits("api", destination: .init(maxConnections: 80, maxPending: 4)),
                self.limits("api", destination: .init(maxPending: 9, connectsPerSecond: 3)),
                self.limits("web", destination: .init(maxConnections: 1)),
                self.limits("api", in: "ops", destination: .init(maxConnections: 1)),
            ])
        #expect(
            policy.policy(for: Self.api) == DestinationPolicy(maxConnections: 50, maxPending: 4, connectsPerSecond: 3))
    }

    @Test func workloadsAreLimitedByLabelByNamespaceAndByMesh() {
        let policy = self.effective(
            [],
            [
                self.limits(workload: .init(connectionsPerSecond: 100, maxConnections: 100)),
                self.limits(labels: ["app": "web"], workload: .init(connectionsPerSecond: 50)),
                self.limits(in: Self.root, workload: .init(handshakesPerSecond: 20, bytesPerSecond: "1M")),
                self.limits(in: Self.root, labels: ["app": "web"], workload: .init(handshakesPerSecond: 10)),
                self.limits("web", destination: .init(maxConnections: 1)),
            ])
        #expect(
            policy.limits(labels: ["app": "web", "x": "y"], namespace: "shop")
                == WorkloadLimits(
                    connectionsPerSecond: 50, handshakesPerSecond: 10, maxConnections: 100, bytesPerSecond: 1_000_000))
        #expect(
            policy.limits(labels: [:], namespace: "shop")
                == WorkloadLimits(
                    connectionsPerSecond: 100, handshakesPerSecond: 20, maxConnections: 100, bytesPerSecond: 1_000_000))
        #expect(
            policy.limits(labels: ["app": "web"], namespace: "ops")
                == WorkloadLimits(handshakesPerSecond: 10, bytesPerSecond: 1_000_000))
    }

    // MARK: - Services

    private func service(_ spec: String, annotation: String = "") throws -> ServiceResource {
        let text = document(
            "Service", "v1", annotation: annotation, spec: "selector: {a: b}\nports: [{port: 1}]\n\(spec)")
        guard case .service(let service) = try resources(text).first else { throw InvalidResources(problems: []) }
        return service
    }

    private static let zone = LoadBalancing(preference: [.region, .zone], mode: .failover)
    private static let node = LoadBalancing(preference: [.region, .zone, .subzone, .node], mode: .failover)

    @Test(arguments: [
        ("", "", LoadBalancing()), ("trafficDistribution: PreferClose", "", Self.zone),
        ("trafficDistribution: PreferSameZone", "", Self.zone), ("trafficDistribution: PreferSameNode", "", Self.node),
        ("", "PreferClose", Self.zone), ("", "prefersamenode", Self.node),
        ("trafficDistribution: PreferSameZone", "PreferSameNode", Self.zone),
        ("internalTrafficPolicy: Cluster", "", LoadBalancing()),
        (
            "internalTrafficPolicy: Local\ntrafficDistribution: PreferClose", "",
            LoadBalancing(preference: [.node], mode: .strict)
        ),
    ])
    func aServiceSaysWhatItPrefers(_ spec: String, _ annotation: String, _ expected: LoadBalancing) throws {
        let line = annotation.isEmpty ? "" : "\(TrafficDistribution.annotation): \(annotation)"
        let service = try self.service(spec, annotation: line)
        #expect(service.loadBalancing == expected)
        #expect(self.effective().loadBalancing(for: service) == expected)
    }

    @Test func aRuleSaysItBetter() throws {
        var rule = self.rule("it", in: "shop")
        rule.spec.trafficPolicy?.loadBalancer = .init(localityLbSetting: .init(enabled: false))
        let close = try self.service("trafficDistribution: PreferClose")
        #expect(self.effective([rule]).loadBalancing(for: close) == LoadBalancing())
        let local = try self.service("internalTrafficPolicy: Local")
        #expect(self.effective([rule]).loadBalancing(for: local).mode == .strict)
        rule.spec.trafficPolicy?.loadBalancer = .init(simple: .leastRequest)
        #expect(self.effective([rule]).loadBalancing(for: close) == Self.zone)
    }

    @Test func anAnnotationThatSaysNothingIsRefused() {
        let text = document(
            "Service", "v1", annotation: "\(TrafficDistribution.annotation): Somewhere",
            spec: "selector: {a: b}\nports: [{port: 1}]")
        #expect(
            problems(text).contains { $0.path.contains("traffic-distribution") && $0.reason.contains("PreferClose") })
    }
}

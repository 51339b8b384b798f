// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import MeshModel
import MeshResources
import Testing

@Suite struct DestinationRuleTests {
    private static let version = "networking.istio.io/v1"

    private func make(_ spec: String, namespace: String = "shop") throws -> DestinationRuleResource {
        let text = document("DestinationRule", Self.version, namespace: namespace, spec: spec)
        guard case .destinationRule(let rule) = try resources(text).first else { throw InvalidResources(problems: []) }
        return rule
    }

    static let full = document(
        "DestinationRule", Self.version,
        spec: """
            host: api
            exportTo: ["*"]
            trafficPolicy:
              connectionPool:
                tcp: {maxConnections: 100, connectTimeout: 250ms}
              loadBalancer:
                simple: LEAST_REQUEST
                localityLbSetting:
                  enabled: true
                  failoverPriority: [topology.kubernetes.io/region, kubernetes.io/hostname]
              outlierDetection:
                splitExternalLocalOriginErrors: true
                consecutiveLocalOriginFailures: 3
                baseEjectionTime: 10m
                maxEjectionPercent: 50
              tls: {mode: ISTIO_MUTUAL}
            """)

    @Test func everythingIsRead() throws {
        guard case .destinationRule(let rule) = try resources(Self.full).first else {
            Issue.record("no rule")
            return
        }
        #expect(rule.host == .service(NamespacedName(namespace: "shop", name: "api")))
        #expect(
            rule.policy
                == DestinationPolicy(
                    maxConnections: 100, connectTimeout: .milliseconds(250),
                    outlierDetection: OutlierDetection(
                        consecutiveFailures: 3, baseEjectionTime: .seconds(600), maxEjectionTime: .seconds(600),
                        maxEjectionPercent: 50)))
        #expect(rule.loadBalancing == LoadBalancing(preference: [.region, .node], mode: .failover))
    }

    @Test func theExampleIsAccepted() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: "examples/traffic-policy.yaml"), encoding: .utf8)
        #expect(Set(try resources(text).map(\.kind)) == [.destinationRule, .connectionLimits])
    }

    @Test(arguments: ["networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"])
    func theVersionsMeanTheSame(_ version: String) throws {
        let text = document("DestinationRule", version, spec: "host: api")
        let json = try resources(text).first?.canonicalJSON()
        #expect(json?.contains(#""apiVersion":"networking.istio.io/v1","#) == true)
    }

    @Test func whatIsNotSaidHasNoEffect() throws {
        let rule = try self.make("host: api")
        #expect(rule.policy == DestinationPolicy())
        #expect(rule.loadBalancing == nil)
        #expect(try self.make("host: api\ntrafficPolicy: {outlierDetection: {}}").policy.outlierDetection == .init())
        #expect(try self.make("host: api\ntrafficPolicy: {loadBalancer: {simple: LEAST_CONN}}").loadBalancing == nil)
    }

    @Test func outlierDetectionCanBeTurnedOff() throws {
        let policy = try self.make(
            "host: api\ntrafficPolicy: {outlierDetection: {consecutiveLocalOriginFailures: 0}}"
        ).policy
        #expect(policy.outlierDetection?.consecutiveFailures == 0)
        #expect(policy.figures == ["ejectAfter": "never"])
    }

    @Test(arguments: [
        ("{}", LoadBalancing(preference: [.region, .zone, .subzone], mode: .failover)),
        ("{enabled: true}", LoadBalancing(preference: [.region, .zone, .subzone], mode: .failover)),
        ("{enabled: false}", LoadBalancing()),
        (
            "{failoverPriority: [topology.istio.io/network, topology.kubernetes.io/zone, topology.istio.io/subzone]}",
            LoadBalancing(preference: [.network, .zone, .subzone], mode: .failover)
        ),
    ])
    func localities(_ setting: String, _ expected: LoadBalancing) throws {
        let rule = try self.make("host: api\ntrafficPolicy: {loadBalancer: {localityLbSetting: \(setting)}}")
        #expect(rule.loadBalancing == expected)
    }

    @Test(arguments: [
        ("api", "shop/api"), ("api.ops", "ops/api"), ("api.ops.svc", "ops/api"), ("api.svc", "svc/api"),
        ("api.ops.svc.cluster.local", "ops/api"), ("api.ops.mesh.internal", "ops/api"),
    ])
    func hostsThatNameAService(_ host: String, _ service: String) {
        #expect(DestinationHost(host, namespace: "shop") == NamespacedName(service).map { .service($0) })
    }

    @Test func hostsThatNameMany() {
        for host in ["*", "*.mesh.internal", "*.svc.cluster.local", "*.local"] {
            #expect(DestinationHost(host, namespace: "shop") == .mesh, "\(host)")
        }
        for host in ["*.ops", "*.ops.mesh.internal", "*.ops.svc.cluster.local", "*.ops.svc"] {
            #expect(DestinationHost(host, namespace: "shop") == .namespace("ops"), "\(host)")
        }
    }

    @Test(arguments: [
        "", ".", "a.b.c", "api.mesh.internal", "api.svc.cluster.local", "a.b.c.mesh.internal", "Api", "*.*", "a*", "*a",
        "www.example.org", "10.0.0.1", "api..mesh.internal", "api.shop.",
    ])
    func hostsThatNameNothing(_ host: String) {
        #expect(DestinationHost(host, namespace: "shop") == nil)
        let found = problems(document("DestinationRule", Self.version, spec: "host: \"\(host)\""))
        #expect(found.contains { $0.path == "spec.host" && $0.reason.contains("NAME.NAMESPACE") && $0.line == 8 })
    }

    @Test(arguments: [
        ("{host: a, subsets: [{name: v1}]}", "spec.subsets", "declare a Service"),
        ("{host: a, workloadSelector: {}}", "spec.workloadSelector", "every client"),
        ("{host: a, exportTo: [\".\"]}", "spec.exportTo[0]", "\"*\""),
        ("{host: a, exportTo: []}", "spec.exportTo", "empty"),
        ("{host: a, nonsense: 1}", "spec.nonsense", "unknown field"), ("{trafficPolicy: {}}", "spec.host", "required"),
    ])
    func rulesThatAreRefused(_ spec: String, _ path: String, _ reason: String) {
        let found = problems(document("DestinationRule", Self.version, spec: spec))
        #expect(found.contains { $0.path == path && $0.reason.contains(reason) && $0.line != nil }, "\(found)")
    }

    @Test(arguments: [
        ("connectionPool: {http: {}}", "connectionPool.http", "HTTP-aware"),
        ("connectionPool: {udp: {}}", "connectionPool.udp", "known here: tcp"),
        ("connectionPool: {tcp: {maxConnections: 0}}", "connectionPool.tcp.maxConnections", "from 1"),
        ("connectionPool: {tcp: {maxConnections: many}}", "connectionPool.tcp.maxConnections", "whole number"),
        ("connectionPool: {tcp: {connectTimeout: 5}}", "connectionPool.tcp.connectTimeout", "such as 30s"),
        ("connectionPool: {tcp: {connectTimeout: 0s}}", "connectionPool.tcp.connectTimeout", "from 1ms"),
        ("connectionPool: {tcp: {connectTimeout: 25h}}", "connectionPool.tcp.connectTimeout", "24h"),
        ("connectionPool: {tcp: {tcpKeepalive: {}}}", "connectionPool.tcp.tcpKeepalive", "leave it out"),
        ("connectionPool: {tcp: {maxConnectionDuration: 1s}}", "connectionPool.tcp.maxConnectionDuration", "leave it"),
        ("connectionPool: {tcp: {idleTimeout: 1s}}", "connectionPool.tcp.idleTimeout", "a node has"),
        ("loadBalancer: {simple: ROUND_ROBIN}", "loadBalancer.simple", "LEAST_REQUEST"),
        ("loadBalancer: {simple: RANDOM}", "loadBalancer.simple", "LEAST_REQUEST"),
        ("loadBalancer: {simple: PASSTHROUGH}", "loadBalancer.simple", "LEAST_REQUEST"),
        ("loadBalancer: {consistentHash: {useSourceIp: true}}", "loadBalancer.consistentHash", "on its own"),
        ("loadBalancer: {warmup: {}}", "loadBalancer.warmup", "leave it out"),
        ("loadBalancer: {localityLbSetting: {enabled: 1}}", "loadBalancer.localityLbSetting.enabled", "true or false"),
        ("loadBalancer: {localityLbSetting: {distribute: []}}", "loadBalancer.localityLbSetting.distribute", "nearest"),
        ("loadBalancer: {localityLbSetting: {failover: []}}", "loadBalancer.localityLbSetting.failover", "nearest"),
        (
            "loadBalancer: {localityLbSetting: {failoverPriority: [version]}}",
            "loadBalancer.localityLbSetting.failoverPriority[0]", "topology.kubernetes.io/zone"
        ),
        (
            "loadBalancer: {localityLbSetting: {failoverPriority: [kubernetes.io/hostname, kubernetes.io/hostname]}}",
            "loadBalancer.localityLbSetting.failoverPriority[1]", "twice"
        ),
        ("outlierDetection: {consecutive5xxErrors: 5}", "outlierDetection.consecutive5xxErrors", "consecutiveLocal"),
        ("outlierDetection: {consecutiveGatewayErrors: 5}", "outlierDetection.consecutiveGatewayErrors", "HTTP"),
        ("outlierDetection: {consecutiveErrors: 5}", "outlierDetection.consecutiveErrors", "HTTP"),
        ("outlierDetection: {interval: 5s}", "outlierDetection.interval", "leave it out"),
        ("outlierDetection: {minHealthPercent: 5}", "outlierDetection.minHealthPercent", "maxEjectionPercent"),
        ("outlierDetection: {maxEjectionPercent: 101}", "outlierDetection.maxEjectionPercent", "from 1 to 100"),
        ("outlierDetection: {maxEjectionPercent: 0}", "outlierDetection.maxEjectionPercent", "from 1 to 100"),
        (
            "outlierDetection: {consecutiveLocalOriginFailures: -1}", "outlierDetection.consecutiveLocalOriginFailures",
            "from 0"
        ),
        (
            "outlierDetection: {splitExternalLocalOriginErrors: false}",
            "outlierDetection.splitExternalLocalOriginErrors", "has to be true"
        ),
        ("tls: {mode: SIMPLE}", "tls.mode", "ISTIO_MUTUAL"), ("tls: {sni: x}", "tls.sni", "leave it out"),
        ("portLevelSettings: []", "portLevelSettings", "declare a Service"), ("tunnel: {}", "tunnel", "leave it out"),
        ("proxyProtocol: {}", "proxyProtocol", "leave it out"), ("other: {}", "other", "unknown field"),
    ])
    func policiesThatAreRefused(_ policy: String, _ path: String, _ reason: String) {
        let found = problems(document("DestinationRule", Self.version, spec: "host: a\ntrafficPolicy: {\(policy)}"))
        #expect(
            found.contains {
                $0.path == "spec.trafficPolicy.\(path)" && $0.reason.contains(reason) && $0.line == 9
            }, "\(found)")
    }
}

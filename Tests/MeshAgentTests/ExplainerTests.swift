// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshConfiguration
import MeshModel
import MeshProxy
import Testing

@testable import MeshAgent

@Suite struct ExplainerTests {
    private static func ip(_ text: String) -> IPAddress { IPAddress(text) ?? IPAddress(ipv4: 0) }

    private static let service = Service(
        id: NamespacedName(namespace: "shop", name: "api"), addresses: [ip("240.240.0.1")],
        ports: [PortMapping(servicePort: 80, targetPort: 8080)])

    private static func workload(_ name: String, _ address: String, node: String, backs: Bool = false) -> Workload {
        Workload(
            id: WorkloadID(namespace: "shop", name: name), addresses: [ip(address)], node: node, serviceAccount: name,
            trustDomain: "mesh.internal", services: backs ? [Self.service.id: Self.service.ports] : [:])
    }

    private static func explainer(
        policies: [AuthorizationPolicy] = [], certificate: Bool = true,
        unknown: AgentConfiguration.UnknownDestination = .refuse, service: Service = Self.service,
        web: Workload = Self.workload("web", "10.201.1.2", node: "n1"), ejections: [EndpointEjection] = []
    ) -> Explainer {
        Explainer(
            snapshot: MeshSnapshot(
                settings: MeshSettings(
                    trustDomain: "mesh.internal",
                    prefixes: ["240.240.0.0/16", "10.201.0.0/16", "fd00::/8"].compactMap { IPPrefix($0) },
                    trustBundle: [], rootNamespace: "nodemesh-system"),
                localNode: "n1",
                workloads: [
                    web, workload("near", "10.201.1.3", node: "n1"),
                    workload("api", "10.201.2.2", node: "n2", backs: true),
                ], services: [service], nodes: [Node(name: "n2", addresses: [ip("10.200.0.2")], tunnelPort: 15008)],
                policies: policies),
            unknownDestination: unknown, hasCertificate: { _ in certificate },
            isEnrolled: { $0.name == "web" || $0.name == "near" }, ejections: ejections)
    }

    @Test(
        "destinations by address and by every form of a service's name",
        arguments: [
            "240.240.0.1:80", "api:80", "api.shop:80", "api.shop.mesh.internal:80", "10.201.2.2:8080",
        ])
    func reachesTheOtherNode(_ destination: String) throws {
        let answer = try Self.explainer().explain(source: "shop/web", destination: destination)
        #expect(answer.verdict == "allowed")
        #expect(answer.steps.contains { $0.stage == "wire" && $0.outcome == "splice" })
        #expect(answer.steps.contains { $0.stage == "endpoint" && $0.detail.contains("10.201.2.2:8080") })
    }

    @Test func anEndpointThatIsSetAsideIsTold() throws {
        let ejection = EndpointEjection(
            service: Self.service.id, port: 80, workload: WorkloadID(namespace: "shop", name: "api"),
            address: SocketAddress(ip: Self.ip("10.201.2.2"), port: 8080), nanosecondsLeft: 12_300_000_000, times: 1)
        let answer = try Self.explainer(ejections: [ejection]).explain(source: "shop/web", destination: "api:80")
        let step = try #require(answer.steps.first { $0.outcome == "ejected" })
        #expect(step.detail.contains("shop/api at 10.201.2.2:8080") && step.detail.contains("13 s"))
        // It is about the service; by its own address the workload is reached as ever.
        let direct = try Self.explainer(ejections: [ejection]).explain(
            source: "shop/web", destination: "10.201.2.2:8080")
        #expect(!direct.steps.contains { $0.outcome == "ejected" })
    }

    @Test func aDenialNamesPolicyAndRule() throws {
        var match = AuthorizationPolicy.Match()
        match.namespaces = [.exact("shop")]
        let deny = AuthorizationPolicy(
            id: NamespacedName(namespace: "shop", name: "no-shop"), scope: .namespace, action: .deny,
            rules: [.init(clauses: [.init(matches: [match])])])
        let local = try Self.explainer(policies: [deny]).explain(source: "shop/web", destination: "10.201.1.3:9000")
        #expect(local.verdict == "denied")
        #expect(local.policy == "shop/no-shop")
        #expect(local.rule == 0)
        #expect(local.reason == "policy_denied")
    }

    @Test(
        "what is not captured, and what is refused",
        arguments: [
            ("192.0.2.1:80", "notCaptured", nil), ("10.201.1.2:80", "notCaptured", nil),
            ("10.201.9.9:80", "refused", "unknown_destination"), ("240.240.0.1:81", "refused", "unknown_destination"),
            ("240.240.0.1:15008", "refused", "self_call"), ("[fd00::1]:80", "refused", "unknown_destination"),
        ] as [(String, String, String?)])
    func verdicts(_ destination: String, _ verdict: String, _ reason: String?) throws {
        let answer = try Self.explainer().explain(source: "shop/web", destination: destination)
        #expect(answer.verdict == verdict)
        #expect(answer.reason == reason)
    }

    @Test func saysWhatIsLimited() throws {
        var service = Self.service
        service.loadBalancing = LoadBalancing(preference: [.region, .zone], mode: .failover)
        service.policy = DestinationPolicy(maxConnections: 7, outlierDetection: OutlierDetection())
        var web = Self.workload("web", "10.201.1.2", node: "n1")
        web.limits = WorkloadLimits(handshakesPerSecond: 9)
        let answer = try Self.explainer(service: service, web: web).explain(source: "shop/web", destination: "api:80")
        let details = { (stage: String) in answer.steps.filter { $0.stage == stage }.map(\.detail) }
        #expect(details("limits") == ["handshakesPerSecond 9"])
        #expect(
            details("traffic") == [
                "ejectAfter 5, ejectAtMost 10%, ejectFor 30s..300s, maxConnections 7, prefer region/zone"
            ])
        let plain = try Self.explainer().explain(source: "shop/web", destination: "api:80")
        #expect(!plain.steps.contains { $0.stage == "limits" || $0.stage == "traffic" })
    }

    @Test func withoutACertificateNothingLeavesTheNode() throws {
        let answer = try Self.explainer(certificate: false).explain(source: "shop/web", destination: "api:80")
        #expect(answer.verdict == "refused")
        #expect(answer.reason == "identity_unavailable")
    }

    @Test func passthroughIsSaid() throws {
        let answer = try Self.explainer(unknown: .passthrough).explain(
            source: "shop/web", destination: "10.201.9.9:80")
        #expect(answer.verdict == "allowed")
    }

    @Test func aWorkloadOfAnotherNodeIsNotCapturedHere() throws {
        let answer = try Self.explainer().explain(source: "shop/api", destination: "10.201.1.2:80")
        #expect(answer.verdict == "notCaptured")
    }

    @Test(
        "what cannot be understood",
        arguments: [
            ("web", "api:80"), ("shop/none", "api:80"), ("shop/web", "api"), ("shop/web", "none:80"),
            ("shop/web", "a.b.c.d:80"), ("shop/web", ""), ("", ""), ("shop/web", "api:0"), ("shop/web", "api:99999"),
        ])
    func misunderstood(_ source: String, _ destination: String) {
        #expect(throws: ErrorResponse.self) {
            try Self.explainer().explain(source: source, destination: destination)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshExplain
import MeshModel
import Testing

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

    /// What the kernel of n1 does with the connects of its workloads, by the same rules as ever.
    private static func hook(_ id: WorkloadID, _ destination: SocketAddress) -> NodeFacts.Hook? {
        guard id.name == "web" || id.name == "near" else { return nil }
        if destination.ip == ip(id.name == "web" ? "10.201.1.2" : "10.201.1.3") {
            return .init(steered: .leftAlone, reason: "self_bypassed")
        }
        let isInside = Self.prefixes.contains { $0.contains(destination.ip) }
        return .init(steered: isInside ? .captured : .leftAlone, reason: isInside ? "captured" : nil)
    }

    private static let prefixes = ["240.240.0.0/16", "10.201.0.0/16", "fd00::/8"].compactMap { IPPrefix($0) }

    private static func snapshot(
        node: String = "n1", policies: [AuthorizationPolicy] = [], service: Service = Self.service,
        web: Workload = Self.workload("web", "10.201.1.2", node: "n1"), api: (inout Workload) -> Void = { _ in }
    ) -> MeshSnapshot {
        var server = workload("api", "10.201.2.2", node: "n2", backs: true)
        api(&server)
        return MeshSnapshot(
            settings: MeshSettings(
                trustDomain: "mesh.internal", prefixes: Self.prefixes, trustBundle: [],
                rootNamespace: "nodemesh-system"),
            localNode: node, workloads: [web, workload("near", "10.201.1.3", node: "n1"), server],
            services: [service],
            nodes: ["n1", "n2"].map {
                Node(name: $0, addresses: [ip("10.200.0.\($0.dropFirst())")], tunnelPort: 15008)
            },
            policies: policies)
    }

    private static func explainer(
        _ snapshot: MeshSnapshot = Self.snapshot(), certificate: Bool = true, passesUnknown: Bool = false,
        change: (inout NodeFacts) -> Void = { _ in }
    ) -> Explainer {
        var facts = NodeFacts(
            outbound: { Self.hook($0, $1) },
            inbound: { id, _ in
                ["web", "near"].contains(id.name) ? .init(steered: .captured, reason: "inbound_steered") : nil
            },
            certificate: { _ in .init(isHeld: certificate) }, passesUnknown: passesUnknown)
        change(&facts)
        return Explainer(snapshot: snapshot, facts: facts)
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
        let explainer = Self.explainer {
            $0.ejections = [
                .init(
                    service: Self.service.id, port: 80, address: SocketAddress(ip: Self.ip("10.201.2.2"), port: 8080),
                    secondsLeft: 13)
            ]
        }
        let answer = try explainer.explain(source: "shop/web", destination: "api:80")
        let step = try #require(answer.steps.first { $0.outcome == "ejected" })
        #expect(step.detail.contains("shop/api at 10.201.2.2:8080") && step.detail.contains("13 s"))
        // It is the only one, so it is used all the same.
        #expect(answer.verdict == "allowed")
        // It is about the service; by its own address the workload is reached as ever.
        let direct = try explainer.explain(source: "shop/web", destination: "10.201.2.2:8080")
        #expect(!direct.steps.contains { $0.outcome == "ejected" })
    }

    @Test func aDenialNamesPolicyAndRule() throws {
        var match = AuthorizationPolicy.Match()
        match.namespaces = [.exact("shop")]
        let deny = AuthorizationPolicy(
            id: NamespacedName(namespace: "shop", name: "no-shop"), scope: .namespace, action: .deny,
            rules: [.init(clauses: [.init(matches: [match])])])
        let local = try Self.explainer(Self.snapshot(policies: [deny])).explain(
            source: "shop/web", destination: "10.201.1.3:9000")
        #expect(local.verdict == "denied")
        #expect(local.policy == "shop/no-shop")
        #expect(local.rule == 0)
        #expect(local.reason == "policy_denied")
        let step = try #require(local.steps.first { $0.stage == "policy" && $0.outcome == "matched" })
        #expect(step.detail == "DENY shop/no-shop: rule 0 matches: from namespaces [shop] holds for shop")
        #expect(step.check?.rules.first?.clauses.first?.alternatives.first?.first?.seen == "shop")
    }

    @Test(
        "what is not captured, and what is refused",
        arguments: [
            ("192.0.2.1:80", "notCaptured", nil), ("10.201.1.2:80", "notCaptured", "self_bypassed"),
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
        let answer = try Self.explainer(Self.snapshot(service: service, web: web)).explain(
            source: "shop/web", destination: "api:80")
        let details = { (stage: String) in answer.steps.filter { $0.stage == stage }.map(\.detail) }
        #expect(details("limits") == ["workload shop/web: handshakesPerSecond 9"])
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
        let answer = try Self.explainer(passesUnknown: true).explain(
            source: "shop/web", destination: "10.201.9.9:80")
        #expect(answer.verdict == "allowed")
    }

    @Test(
        "what the kernel decides is the end of it",
        arguments: [
            (.init(steered: .leftAlone, reason: "outbound_excluded"), "notCaptured", "outbound_excluded"),
            (.init(steered: .leftAlone, reason: nil), "notCaptured", nil),
            (.init(steered: .refused, reason: "ipv6_refused"), "refused", "ipv6_refused"),
            (.init(steered: .captured, reason: "captured", hasListener: false), "refused", "captured"),
            (.init(steered: .captured, reason: "captured"), "allowed", nil),
        ] as [(NodeFacts.Hook, String, String?)])
    func kernel(_ hook: NodeFacts.Hook, _ verdict: String, _ reason: String?) throws {
        let answer = try Self.explainer { $0.outbound = { _, _ in hook } }
            .explain(source: "shop/web", destination: "api:80")
        #expect(answer.verdict == verdict)
        #expect(answer.reason == reason)
    }

    @Test func aVerdictInTheKernelLeadsPastTheProxy() throws {
        let server = SocketAddress(ip: Self.ip("10.201.1.3"), port: 9000)
        let answer = try Self.explainer {
            $0.outbound = { _, _ in .init(steered: .direct([server], isShared: false), reason: "direct") }
        }.explain(source: "shop/web", destination: "10.201.1.3:9000")
        #expect(answer.verdict == "allowed")
        #expect(answer.steps.filter { $0.outcome == "direct" }.map(\.stage) == ["capture", "wire"])
    }

    @Test func limitsThatAreReachedRefuse() throws {
        var service = Self.service
        service.policy = DestinationPolicy(maxConnections: 7, maxPending: 2)
        for (open, pending, verdict) in [(6, 1, "allowed"), (7, 0, "refused"), (3, 2, "refused")] {
            let answer = try Self.explainer(Self.snapshot(service: service)) {
                $0.usage = [service.id: (open, pending)]
            }.explain(source: "shop/web", destination: "api:80")
            #expect(answer.verdict == verdict)
            if verdict == "refused" { #expect(answer.reason == "limit_exceeded") }
        }
        var web = Self.workload("web", "10.201.1.2", node: "n1")
        web.limits = WorkloadLimits(maxConnections: 3)
        for (open, verdict) in [(2, "allowed"), (3, "refused")] {
            let answer = try Self.explainer(Self.snapshot(web: web)) { $0.connections = { _ in open } }
                .explain(source: "shop/web", destination: "api:80")
            #expect(answer.verdict == verdict)
        }
    }

    // MARK: - On the destination's node

    @Test func theOtherNodeSaysWhatItMakesOfIt() throws {
        var deny = AuthorizationPolicy(
            id: NamespacedName(namespace: "shop", name: "no"), scope: .namespace, action: .deny,
            rules: [.init(clauses: [])])
        let explain = { (policies: [AuthorizationPolicy], isHeld: Bool) in
            try Explainer(
                snapshot: Self.snapshot(node: "n2", policies: policies),
                facts: NodeFacts(
                    outbound: { _, _ in nil },
                    inbound: { id, _ in id.name == "api" ? .init(steered: .captured, reason: nil) : nil },
                    certificate: { _ in .init(isHeld: isHeld) })
            ).explain(source: "shop/web", destination: "api:80")
        }
        #expect(try explain([], true).verdict == "allowed")
        #expect(try explain([deny], true).verdict == "denied")
        #expect(try explain([], false).reason == "tls_failed")
        // The node of the source says the same of policies, and where to ask.
        let there = try Self.explainer(Self.snapshot(policies: [deny])).explain(
            source: "shop/web", destination: "api:80")
        #expect(there.verdict == "denied")
        #expect(there.steps.contains { $0.stage == "inbound" && $0.detail.contains("node n2 decides") })
        deny.isDryRun = true
        let dry = try explain([deny], true)
        #expect(dry.verdict == "allowed")
        #expect(dry.steps.contains { $0.outcome == "dryRun-matched" && $0.detail.contains("it would be denied") })
    }

    @Test func plaintextFromOutsideIsRefusedByStrict() throws {
        var noIdentity = AuthorizationPolicy.Match()
        noIdentity.notPrincipals = [.presence]
        let strict = AuthorizationPolicy(
            id: NamespacedName(namespace: "nodemesh-system", name: AuthorizationPolicy.strictName),
            scope: .workloadSelector, action: .deny,
            rules: [.init(clauses: [.init(matches: [noIdentity])])])
        var web = Self.workload("web", "10.201.1.2", node: "n1")
        let permissive = try Self.explainer(Self.snapshot(policies: [strict], web: web))
            .explain(source: "192.0.2.9", destination: "10.201.1.2:80")
        #expect(permissive.verdict == "allowed")
        #expect(permissive.steps.contains { $0.stage == "mtls" && $0.outcome == "PERMISSIVE" })
        web.policies = [strict.id]
        web.peerAuthentication = NamespacedName(namespace: "shop", name: "default")
        let refused = try Self.explainer(Self.snapshot(policies: [strict], web: web))
            .explain(source: "192.0.2.9", destination: "10.201.1.2:80")
        #expect(refused.verdict == "denied" && refused.reason == "policy_denied")
        let step = try #require(refused.steps.first { $0.stage == "mtls" })
        #expect(step.outcome == "STRICT" && step.detail.contains("PeerAuthentication shop/default"))
        // With an identity it passes.
        let near = try Self.explainer(Self.snapshot(policies: [strict], web: web))
            .explain(source: "shop/near", destination: "10.201.1.2:80")
        #expect(near.verdict == "allowed")
    }

    @Test func theControlPlaneAnswersForAnyPair() throws {
        let answer = try Explainer(snapshot: Self.snapshot(), facts: nil).explain(
            source: "shop/web", destination: "api:80")
        #expect(answer.verdict == "allowed")
        #expect(answer.node == nil && answer.notes.count == 1)
        #expect(answer.steps.contains { $0.stage == "wire" && $0.outcome == "splice" })
    }

    @Test(
        "what cannot be understood, and what is not there",
        arguments: [
            ("web", "api:80", .invalid), ("shop/none", "api:80", .notFound), ("shop/web", "api", .invalid),
            ("shop/web", "none:80", .notFound), ("shop/web", "a.b.c.d:80", .notFound), ("shop/web", "", .invalid),
            ("", "", .invalid), ("shop/web", "api:0", .invalid), ("shop/web", "api:99999", .invalid),
            ("shop/api", "10.201.2.2:80", .notFound), ("192.0.2.9", "api.shop:80", .invalid),
            ("192.0.2.9", "10.201.9.9:80", .notFound), ("192.0.2.9", "10.201.2.2:80", .notFound),
        ] as [(String, String, ExplainError.Code)])
    func misunderstood(_ source: String, _ destination: String, _ code: ExplainError.Code) {
        do throws(ExplainError) {
            _ = try Self.explainer().explain(source: source, destination: destination)
            Issue.record("explained")
        } catch {
            #expect(error.code == code, "\(error)")
        }
    }

    // MARK: - Agreement

    /// Over many random sets of policies: the verdict is what the data plane's evaluation says.
    @Test func theVerdictIsTheDecision() throws {
        var generator = Generator(state: 7)
        var verdicts: [String: Int] = [:]
        for _ in 0..<500 {
            let policies = (0..<Int.random(in: 0...4, using: &generator)).map { index in
                AuthorizationPolicy(
                    id: NamespacedName(namespace: Bool.random(using: &generator) ? "shop" : "other", name: "p\(index)"),
                    scope: .namespace, action: Bool.random(using: &generator) ? .allow : .deny,
                    rules: (0..<Int.random(in: 0...2, using: &generator)).map { _ in
                        .init(
                            clauses: (0..<Int.random(in: 0...2, using: &generator)).map { _ in
                                .init(
                                    matches: (0..<Int.random(in: 0...2, using: &generator)).map { _ in
                                        Self.match(&generator)
                                    })
                            })
                    }, isDryRun: Int.random(in: 0..<4, using: &generator) == 0)
            }
            let snapshot = Self.snapshot(policies: policies)
            for (source, destination) in [
                ("shop/web", "10.201.1.3:80"), ("shop/web", "10.201.2.2:8080"), ("192.0.2.9", "10.201.1.2:80"),
            ] {
                let address = try #require(SocketAddress(destination))
                let client = WorkloadID(source).flatMap { snapshot.workload($0) }
                let server = try #require(snapshot.workload(at: address))
                let decision = snapshot.decide(
                    PolicyInput(
                        sourceIdentity: client?.identity, sourceIP: client?.addresses[0] ?? Self.ip(source),
                        destination: address), for: server)
                let answer = try Self.explainer(snapshot).explain(source: source, destination: destination)
                #expect(answer.verdict == (decision.isAllowed ? "allowed" : "denied"))
                #expect(answer.policy == decision.policy?.description)
                #expect(answer.rule == decision.rule)
                verdicts[answer.verdict, default: 0] += 1
                for step in answer.steps {
                    guard let check = step.check else { continue }
                    // What is shown of the clauses adds up to what is said of the rule.
                    #expect(check.matchedRule == check.rules.firstIndex { $0.isMatched })
                    for rule in check.rules {
                        #expect(rule.isMatched == rule.clauses.allSatisfy(\.isMatched))
                        for clause in rule.clauses {
                            #expect(clause.isMatched == clause.alternatives.contains { $0.allSatisfy(\.isMatched) })
                        }
                    }
                }
            }
        }
        #expect((verdicts["allowed"] ?? 0) > 100 && (verdicts["denied"] ?? 0) > 100)
    }

    private static func match(_ generator: inout Generator) -> AuthorizationPolicy.Match {
        var match = AuthorizationPolicy.Match()
        switch Int.random(in: 0..<7, using: &generator) {
        case 0: match.principals = [.exact("mesh.internal/ns/shop/sa/web")]
        case 1: match.notPrincipals = [.presence]
        case 2: match.namespaces = [.prefix("sh")]
        case 3: match.destinationPorts = [80]
        case 4: match.notDestinationPorts = [80]
        case 5: match.sourceIPs = [IPPrefix("10.201.0.0/16")].compactMap(\.self)
        default: break
        }
        return match
    }

    private struct Generator: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            self.state = self.state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return self.state ^ (self.state >> 29)
        }
    }
}

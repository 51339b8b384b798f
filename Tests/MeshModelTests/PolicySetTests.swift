// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@Suite struct PolicySetTests {
    private let web = principal(.suffix("/sa/web"))
    private let admin = principal(.suffix("/sa/admin"))

    @Test func nothingAppliesAllows() throws {
        let decision = PolicySet([]).decide(try input(nil))
        #expect(decision == PolicyDecision(isAllowed: true, reason: .noPolicies))
    }

    @Test func onlyDenyPoliciesThatDoNotMatchAllow() throws {
        let set = PolicySet([try policy("shop/d", .deny, [[[self.admin]]])])
        #expect(set.decide(try input(shopper)) == PolicyDecision(isAllowed: true, reason: .noPolicies))
    }

    @Test func aDenyMatchWinsOverAnAllowMatch() throws {
        let set = PolicySet([
            try policy("shop/allow", .allow, [everything]),
            try policy("shop/deny", .deny, [[[self.admin]], [[self.web]]]),
        ])
        let decision = set.decide(try input(shopper))
        #expect(!decision.isAllowed)
        #expect(decision.reason == .matchedDeny)
        #expect(decision.policy == NamespacedName(namespace: "shop", name: "deny"))
        #expect(decision.rule == 1)
    }

    @Test func anAllowMatchNamesPolicyAndRule() throws {
        let set = PolicySet([
            try policy("shop/b", .allow, [[[self.web]]]), try policy("shop/a", .allow, [[[self.admin]]]),
        ])
        let decision = set.decide(try input(shopper))
        #expect(decision.isAllowed)
        #expect(decision.reason == .matchedAllow)
        #expect(decision.policy == NamespacedName(namespace: "shop", name: "b"))
        #expect(decision.rule == 0)
    }

    @Test func noAllowMatchDenies() throws {
        let set = PolicySet([try policy("shop/a", .allow, [[[self.admin]]])])
        #expect(set.decide(try input(shopper)) == PolicyDecision(isAllowed: false, reason: .noAllowMatched))
    }

    @Test func anAllowPolicyWithoutRulesDeniesEverything() throws {
        let set = PolicySet([try policy("shop/none", .allow, [])])
        #expect(set.decide(try input(shopper)).reason == .noAllowMatched)
    }

    @Test func aDenyPolicyWithoutRulesDeniesNothing() throws {
        #expect(PolicySet([try policy("shop/none", .deny, [])]).decide(try input(nil)).isAllowed)
    }

    @Test func aRuleWithoutClausesMatchesEverything() throws {
        #expect(!PolicySet([try policy("shop/all", .deny, [everything])]).decide(try input(nil)).isAllowed)
    }

    @Test func aClauseWithoutMatchesMatchesNothing() throws {
        #expect(PolicySet([try policy("shop/odd", .deny, [[[]]])]).decide(try input(nil)).isAllowed)
        #expect(!PolicySet([try policy("shop/odd", .allow, [[[]]])]).decide(try input(nil)).isAllowed)
    }

    @Test func clausesAreAndMatchesAreOr() throws {
        let port = match { $0.destinationPorts = [8080] }
        let set = PolicySet([try policy("shop/p", .allow, [[[self.admin, self.web], [port]]])])
        #expect(set.decide(try input(shopper)).isAllowed)
        #expect(!set.decide(try input(shopper, to: "10.0.0.2:1")).isAllowed)
        #expect(!set.decide(try input(nil)).isAllowed)
    }

    @Test func anUnknownPolicyDenies() throws {
        let missing = NamespacedName(namespace: "shop", name: "missing")
        let set = PolicySet([try policy("shop/a", .allow, [everything])], unknown: [missing])
        #expect(
            set.decide(try input(shopper)) == PolicyDecision(isAllowed: false, policy: missing, reason: .unknownPolicy))
        #expect(PolicySet([], unknown: [missing]).decide(try input(shopper)).reason == .unknownPolicy)
    }

    @Test func aDenyMatchIsToldBeforeAnUnknownPolicy() throws {
        let set = PolicySet(
            [try policy("shop/d", .deny, [everything])], unknown: [NamespacedName(namespace: "shop", name: "missing")])
        #expect(set.decide(try input(shopper)).reason == .matchedDeny)
    }

    @Test func theSamePolicyTwiceCountsOnce() throws {
        let deny = try policy("shop/d", .deny, [everything])
        #expect(PolicySet([deny, deny]).denying.count == 1)
    }

    @Test func strictDeniesPlaintextOnly() throws {
        let strict = try policy(
            "nodemesh-system/istio_converted_static_strict", .deny, [[[match { $0.notPrincipals = [.presence] }]]])
        #expect(!PolicySet([strict]).decide(try input(nil)).isAllowed)
        #expect(PolicySet([strict]).decide(try input(shopper)).isAllowed)
    }

    @Test func dryRunNeverDecides() throws {
        let set = PolicySet([try policy("shop/d", .deny, [everything], isDryRun: true)])
        let decision = set.decide(try input(shopper))
        #expect(decision.isAllowed)
        #expect(decision.reason == .noPolicies)
        #expect(
            decision.dryRun == [
                .init(policy: NamespacedName(namespace: "shop", name: "d"), action: .deny, rule: 0, wouldAllow: false)
            ])
    }

    /// What one dry-run policy would change, beside enforced ones.
    @Test(
        arguments: [
            // enforced, dry run action, dry run matches, would allow
            ("", AuthorizationPolicy.Action.allow, true, true), ("", .allow, false, false), ("", .deny, true, false),
            ("", .deny, false, true), ("allow", .allow, false, true), ("allow", .deny, true, false),
            ("deny", .allow, true, false), ("deny", .deny, false, false), ("other", .allow, true, true),
            ("other", .allow, false, false), ("other", .deny, false, false), ("unknown", .allow, true, false),
        ] as [(String, AuthorizationPolicy.Action, Bool, Bool)])
    func dryRunOutcome(
        _ enforced: String, _ action: AuthorizationPolicy.Action, _ matches: Bool, _ wouldAllow: Bool
    ) throws {
        var policies = [
            try policy("shop/dry", action, matches ? [everything] : [[[self.admin]]], isDryRun: true)
        ]
        switch enforced {
        case "allow": policies.append(try policy("shop/e", .allow, [everything]))
        case "deny": policies.append(try policy("shop/e", .deny, [everything]))
        case "other": policies.append(try policy("shop/e", .allow, [[[self.admin]]]))
        default: break
        }
        let unknown = enforced == "unknown" ? [NamespacedName(namespace: "shop", name: "x")] : []
        let decision = PolicySet(policies, unknown: unknown).decide(try input(shopper))
        #expect(decision.dryRun.map(\.wouldAllow) == [wouldAllow])
        #expect(decision.dryRun.first?.rule == (matches ? 0 : nil))
    }

    @Test func theTraceShowsWhatEachPartSaid() throws {
        let port = match { $0.destinationPorts = [1] }
        let set = PolicySet([
            try policy("shop/allow", .allow, [[[self.admin, self.web], [port]], everything], scope: .global),
            try policy("shop/deny", .deny, [[[self.admin]]]),
            try policy("shop/dry", .deny, [everything], isDryRun: true),
        ])
        let trace = set.trace(try input(shopper))
        #expect(trace.policies.map(\.id.name) == ["deny", "allow", "dry"])
        #expect(trace.policies.map(\.matchedRule) == [nil, 1, 0])
        #expect(trace.policies.map(\.isDryRun) == [false, false, true])
        #expect(
            trace.policies[0].rules == [
                .init(isMatched: false, clauses: [.init(isMatched: false, failures: [.principals])])
            ])
        #expect(
            trace.policies[1].rules == [
                .init(
                    isMatched: false,
                    clauses: [
                        .init(isMatched: true, failures: [.principals, nil]),
                        .init(isMatched: false, failures: [.destinationPorts]),
                    ]), .init(isMatched: true, clauses: []),
            ])
        #expect(trace.decision == set.decide(try input(shopper)))
    }

    /// Decision and trace over many random policy sets: they are the same evaluation.
    @Test func theTraceDecidesAsTheDecision() throws {
        var generator = LinearGenerator(state: 42)
        let pool = [
            self.web, self.admin, Match(), match { $0.destinationPorts = [8080] }, match { $0.destinationPorts = [1] },
            match { $0.notPrincipals = [.presence] }, match { $0.notNamespaces = [.exact("ops")] },
        ]
        let inputs = [try input(nil), try input(shopper), try input("spiffe://mesh.internal/ns/ops/sa/admin")]
        var reasons = Set<PolicyDecision.Reason>()
        for _ in 0..<2000 {
            let policies = try (0..<Int.random(in: 0...4, using: &generator)).map { index in
                let rules = (0..<Int.random(in: 0...2, using: &generator)).map { _ in
                    (0..<Int.random(in: 0...2, using: &generator)).map { _ in
                        (0..<Int.random(in: 0...2, using: &generator)).compactMap { _ in
                            pool.randomElement(using: &generator)
                        }
                    }
                }
                return try policy(
                    "shop/p\(index)", Bool.random(using: &generator) ? .allow : .deny, rules,
                    isDryRun: Int.random(in: 0..<4, using: &generator) == 0)
            }
            let isMissing = Int.random(in: 0..<8, using: &generator) == 0
            let set = PolicySet(
                policies, unknown: isMissing ? [NamespacedName(namespace: "shop", name: "missing")] : [])
            for input in inputs {
                let decision = set.decide(input)
                #expect(decision == set.trace(input).decision)
                reasons.insert(decision.reason)
            }
        }
        #expect(reasons == Set(PolicyDecision.Reason.allCases))
    }
}

/// Reproducible randomness.
struct LinearGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state = self.state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return self.state ^ (self.state >> 29)
    }
}

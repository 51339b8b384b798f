// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@Suite struct PolicyIndexTests {
    private func decide(
        _ policies: [AuthorizationPolicy], naming names: [String] = [], dryRun: [String] = []
    ) throws -> PolicyDecision {
        let api = try workload("shop/api", at: ["10.0.0.2"]) {
            $0.policies = try names.map { try name($0) }
            $0.dryRunPolicies = try dryRun.map { try name($0) }
        }
        return try snapshot(workloads: [api], policies: policies).decide(try input(shopper), for: api)
    }

    @Test func anUnknownDryRunPolicyHasNoEffect() throws {
        #expect(try self.decide([], dryRun: ["shop/gone"]) == PolicyDecision(isAllowed: true, reason: .noPolicies))
        #expect(try self.decide([], naming: ["shop/gone"]).reason == .unknownPolicy)
    }

    @Test func aDryRunNeverStandsInForAnEnforcedPolicy() throws {
        let enforced = try policy("shop/p", .deny, [everything], scope: .workloadSelector)
        let dry = try policy("shop/p", .deny, [everything], scope: .workloadSelector, isDryRun: true)
        // While one becomes the other both may be known, in any order.
        for policies in [[enforced, dry], [dry, enforced]] {
            let decision = try self.decide(policies, naming: ["shop/p"], dryRun: ["shop/p"])
            #expect(decision.reason == .matchedDeny)
            #expect(decision.dryRun.isEmpty)
        }
        let decision = try self.decide([dry], dryRun: ["shop/p"])
        #expect(decision.isAllowed && decision.dryRun.map(\.wouldAllow) == [false])
        // Another control plane names it in the one list that there is.
        #expect(try self.decide([dry], naming: ["shop/p"]) == decision)
    }

    @Test func aChangedListOfDryRunsCounts() throws {
        let dry = try policy("shop/p", .deny, [everything], scope: .workloadSelector, isDryRun: true)
        let mesh = try snapshot(workloads: [try workload("shop/api", at: ["10.0.0.2"])], policies: [dry])
        let newer = try workload("shop/api", at: ["10.0.0.2"]) { $0.dryRunPolicies = [dry.id] }
        #expect(mesh.decide(try input(shopper), for: newer).dryRun.count == 1)
    }

    @Test func conditionsSayWhatTheyDemandAndSee() throws {
        let match = try match {
            $0.principals = [.exact("mesh.internal/ns/shop/sa/web")]
            $0.sourceIPs = [try prefix("10.9.0.0/16")]
            $0.destinationPorts = [1]
        }
        let conditions = match.conditions(try input(shopper))
        // The first that fails is the last that is looked at.
        #expect(conditions.map(\.field) == [.principals, .sourceIPs])
        #expect(conditions.map(\.isMatched) == [true, false])
        #expect(conditions.last?.demanded == ["10.9.0.0/16"])
        #expect(conditions.last?.seen == "10.0.0.1")
        #expect(match.conditions(try input(nil)).map(\.seen) == [nil])
        #expect([Match.Field]() == Match().conditions(try input(nil)).map(\.field))
    }
}

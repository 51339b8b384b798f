// SPDX-License-Identifier: Apache-2.0

package import MeshAdminAPI
package import MeshModel

extension PolicyCheck {
    /// Every policy of a set in the order of a trace of it, with what each condition demanded and saw.
    package static func all(_ trace: PolicyTrace, of set: PolicySet, asked input: PolicyInput) -> [PolicyCheck] {
        zip(trace.policies, set.denying + set.allowing + set.dryRun).map { outcome, policy in
            PolicyCheck(outcome, of: policy, asked: input)
        }
    }

    private init(_ outcome: PolicyTrace.Policy, of policy: AuthorizationPolicy, asked input: PolicyInput) {
        self.init(
            policy: outcome.id.description, action: outcome.action.rawValue.uppercased(),
            scope: outcome.scope.rawValue, isDryRun: outcome.isDryRun, matchedRule: outcome.matchedRule,
            rules: zip(outcome.rules, policy.rules).map { rule, source in
                Rule(
                    isMatched: rule.isMatched,
                    clauses: zip(rule.clauses, source.clauses).map { clause, source in
                        Clause(
                            isMatched: clause.isMatched,
                            alternatives: source.matches.map { match in
                                match.conditions(input).map { Condition($0) }
                            })
                    })
            })
    }

    /// What decided, in one line: the rule that matches, or what each rule failed on.
    package var summary: String {
        let name = "\(self.action) \(self.policy)"
        if let rule = self.matchedRule {
            let held = self.rules[rule].clauses.compactMap { clause in
                clause.alternatives.first { $0.allSatisfy(\.isMatched) }?.map(\.text).joined(separator: " and ")
            }
            return "\(name): rule \(rule) matches"
                + (held.joined().isEmpty ? ": it demands nothing" : ": " + held.joined(separator: "; "))
        }
        if self.rules.isEmpty { return name + ": has no rules, so nothing matches" }
        let reasons = self.rules.enumerated().map { index, rule in
            let failed = rule.clauses.first { !$0.isMatched }
            let texts = failed?.alternatives.compactMap { $0.last { !$0.isMatched }?.text } ?? []
            return "rule \(index) does not match" + (texts.isEmpty ? "" : ": " + texts.joined(separator: ", nor "))
        }
        return "\(name): \(reasons.joined(separator: "; "))"
    }
}

extension PolicyCheck.Condition {
    fileprivate init(_ condition: AuthorizationPolicy.Match.Condition) {
        self.init(
            part: condition.field.part, field: condition.field.rawValue, demanded: condition.demanded,
            seen: condition.seen, isMatched: condition.isMatched)
    }

    /// Such as `from principals [a, b], and it has c`.
    fileprivate var text: String {
        let shown = self.demanded.prefix(4).joined(separator: ", ")
        let more = self.demanded.count > 4 ? ", and \(self.demanded.count - 4) more" : ""
        return "\(self.part) \(self.field) [\(shown)\(more)] \(self.isMatched ? "holds" : "fails") for "
            + (self.seen ?? "no identity")
    }
}

extension AuthorizationPolicy.Match.Field {
    /// Where operators write it; conditions of `when` have become one of the two.
    fileprivate var part: String {
        switch self {
        case .principals, .notPrincipals, .namespaces, .notNamespaces, .serviceAccounts, .notServiceAccounts,
            .sourceIPs, .notSourceIPs:
            "from"
        case .destinationIPs, .notDestinationIPs, .destinationPorts, .notDestinationPorts: "to"
        }
    }
}

extension PolicyDecision {
    /// Why, in one sentence.
    package var text: String {
        let policy = self.policy?.description ?? "-"
        return switch self.reason {
        case .noPolicies: "no policy denies it and no ALLOW policy applies"
        case .matchedAllow: "policy \(policy) allows it"
        case .matchedDeny: "policy \(policy) denies it"
        case .noAllowMatched: "ALLOW policies apply and none of them matches"
        case .unknownPolicy: "the workload names policy \(policy), which is not known here"
        }
    }
}

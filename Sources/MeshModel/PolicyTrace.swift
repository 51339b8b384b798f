// SPDX-License-Identifier: Apache-2.0

/// How a decision came about: every policy that applies, every clause, and what failed in each match.
package struct PolicyTrace: Hashable, Sendable {
    package var decision: PolicyDecision
    /// DENY policies, ALLOW policies, then dry-run policies; by name within each.
    package var policies: [Policy]
    /// Names in the workload's list that this node does not know.
    package var unknown: [NamespacedName]

    package init(decision: PolicyDecision, policies: [Policy], unknown: [NamespacedName]) {
        self.decision = decision
        self.policies = policies
        self.unknown = unknown
    }

    package struct Policy: Hashable, Sendable {
        package var id: NamespacedName
        package var scope: AuthorizationPolicy.Scope
        package var action: AuthorizationPolicy.Action
        package var isDryRun: Bool
        /// Position of the first rule that matched, from 0.
        package var matchedRule: Int?
        package var rules: [Rule]

        package init(
            id: NamespacedName, scope: AuthorizationPolicy.Scope, action: AuthorizationPolicy.Action, isDryRun: Bool,
            matchedRule: Int?, rules: [Rule]
        ) {
            self.id = id
            self.scope = scope
            self.action = action
            self.isDryRun = isDryRun
            self.matchedRule = matchedRule
            self.rules = rules
        }
    }

    package struct Rule: Hashable, Sendable {
        package var isMatched: Bool
        package var clauses: [Clause]

        package init(isMatched: Bool, clauses: [Clause]) {
            self.isMatched = isMatched
            self.clauses = clauses
        }
    }

    package struct Clause: Hashable, Sendable {
        package var isMatched: Bool
        /// For each match the first field that does not hold, or nil when all hold.
        package var failures: [AuthorizationPolicy.Match.Field?]

        package init(isMatched: Bool, failures: [AuthorizationPolicy.Match.Field?]) {
            self.isMatched = isMatched
            self.failures = failures
        }
    }
}

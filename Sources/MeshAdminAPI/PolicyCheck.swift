// SPDX-License-Identifier: Apache-2.0

/// What one policy said of a connection: every rule, every clause, and what each condition demanded and saw.
package struct PolicyCheck: Codable, Sendable, Hashable {
    package struct Rule: Codable, Sendable, Hashable {
        /// All clauses matched.
        package var isMatched: Bool
        package var clauses: [Clause]

        package init(isMatched: Bool, clauses: [Clause]) {
            self.isMatched = isMatched
            self.clauses = clauses
        }
    }

    package struct Clause: Codable, Sendable, Hashable {
        /// One of the alternatives holds.
        package var isMatched: Bool
        /// The conditions of each, up to the first that fails.
        package var alternatives: [[Condition]]

        package init(isMatched: Bool, alternatives: [[Condition]]) {
            self.isMatched = isMatched
            self.alternatives = alternatives
        }
    }

    package struct Condition: Codable, Sendable, Hashable {
        /// `from` (the source) or `to` (the destination); a condition of `when` is shown as one of the two.
        package var part: String
        /// As operators write it, such as `principals` or `notPorts`.
        package var field: String
        package var demanded: [String]
        /// nil: the connection has no identity.
        package var seen: String?
        package var isMatched: Bool

        package init(part: String, field: String, demanded: [String], seen: String?, isMatched: Bool) {
            self.part = part
            self.field = field
            self.demanded = demanded
            self.seen = seen
            self.isMatched = isMatched
        }
    }

    /// `namespace/name`.
    package var policy: String
    /// `ALLOW` or `DENY`.
    package var action: String
    /// `global`, `namespace` or `workloadSelector`.
    package var scope: String
    /// Never enforced.
    package var isDryRun: Bool
    /// Position of the first rule that matched, from 0.
    package var matchedRule: Int?
    package var rules: [Rule]

    package init(
        policy: String, action: String, scope: String, isDryRun: Bool, matchedRule: Int?, rules: [Rule]
    ) {
        self.policy = policy
        self.action = action
        self.scope = scope
        self.isDryRun = isDryRun
        self.matchedRule = matchedRule
        self.rules = rules
    }
}

// SPDX-License-Identifier: Apache-2.0

/// What the policies that apply to a workload say about one connection, and which of them says it.
package struct PolicyDecision: Hashable, Sendable {
    package enum Reason: String, Hashable, Sendable, CaseIterable {
        /// Allowed: nothing denies it and no ALLOW policy applies.
        case noPolicies
        /// Allowed: a rule of an ALLOW policy matches.
        case matchedAllow
        /// Denied: a rule of a DENY policy matches.
        case matchedDeny
        /// Denied: ALLOW policies apply and none matches.
        case noAllowMatched
        /// Denied: the workload names a policy that this node does not know.
        case unknownPolicy

        /// In the access log.
        package var word: String {
            switch self {
            case .noPolicies: "no_policies"
            case .matchedAllow: "matched_allow"
            case .matchedDeny: "matched_deny"
            case .noAllowMatched: "no_allow_matched"
            case .unknownPolicy: "unknown_policy"
            }
        }

        package var isAllowed: Bool {
            switch self {
            case .noPolicies, .matchedAllow: true
            case .matchedDeny, .noAllowMatched, .unknownPolicy: false
            }
        }
    }

    package var isAllowed: Bool
    /// The policy that decided; for `unknownPolicy` the name that is not known.
    package var policy: NamespacedName?
    /// Position of the rule that matched, from 0.
    package var rule: Int?
    package var reason: Reason
    /// One entry for each dry-run policy that applies.
    package var dryRun: [DryRun]

    package init(
        isAllowed: Bool, policy: NamespacedName? = nil, rule: Int? = nil, reason: Reason, dryRun: [DryRun] = []
    ) {
        self.isAllowed = isAllowed
        self.policy = policy
        self.rule = rule
        self.reason = reason
        self.dryRun = dryRun
    }

    /// What the decision would be if one dry-run policy were enforced beside the enforced ones.
    package struct DryRun: Hashable, Sendable {
        package var policy: NamespacedName
        package var action: AuthorizationPolicy.Action
        /// Position of the rule that matched, from 0; nil: none did.
        package var rule: Int?
        package var wouldAllow: Bool

        package init(policy: NamespacedName, action: AuthorizationPolicy.Action, rule: Int?, wouldAllow: Bool) {
            self.policy = policy
            self.action = action
            self.rule = rule
            self.wouldAllow = wouldAllow
        }
    }
}

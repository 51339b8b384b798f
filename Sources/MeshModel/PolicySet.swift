// SPDX-License-Identifier: Apache-2.0

/// The policies that apply to one workload, in the order in which they are evaluated.
///
/// A DENY match denies; then a name in the workload's list that is not known denies; then, unless no ALLOW policy
/// applies, one of them must match. Dry-run policies never take part.
package struct PolicySet: Hashable, Sendable {
    /// Enforced DENY policies, by name.
    package let denying: [AuthorizationPolicy]
    /// Enforced ALLOW policies, by name.
    package let allowing: [AuthorizationPolicy]
    /// Policies that are evaluated and reported only, by name.
    package let dryRun: [AuthorizationPolicy]
    /// Names in the workload's list that are not known here, sorted.
    package let unknown: [NamespacedName]

    /// A policy that is given more than once counts once.
    package init(_ policies: [AuthorizationPolicy], unknown: [NamespacedName] = []) {
        var seen = Set<NamespacedName>()
        let unique = policies.filter { seen.insert($0.id).inserted }.sorted { $0.id < $1.id }
        self.denying = unique.filter { !$0.isDryRun && $0.action == .deny }
        self.allowing = unique.filter { !$0.isDryRun && $0.action == .allow }
        self.dryRun = unique.filter(\.isDryRun)
        self.unknown = Set(unknown).sorted()
    }

    package var isEmpty: Bool {
        self.denying.isEmpty && self.allowing.isEmpty && self.dryRun.isEmpty && self.unknown.isEmpty
    }

    /// May this connection pass?
    package func decide(_ input: PolicyInput) -> PolicyDecision {
        if self.isEmpty { return PolicyDecision(isAllowed: true, reason: .noPolicies) }
        var observer = SilentObserver()
        return self.evaluate(PolicySubject(input), &observer)
    }

    /// May this connection pass, and why: the same evaluation with everything it saw.
    package func trace(_ input: PolicyInput) -> PolicyTrace {
        var observer = RecordingObserver()
        let decision = self.evaluate(PolicySubject(input), &observer)
        return PolicyTrace(decision: decision, policies: observer.policies, unknown: self.unknown)
    }

    private func evaluate<Observer: PolicyObserver>(
        _ subject: PolicySubject, _ observer: inout Observer
    ) -> PolicyDecision {
        let denied = Self.first(of: self.denying, subject, &observer)
        let mayStop = !Observer.isExhaustive && self.dryRun.isEmpty
        let allowed =
            mayStop && (denied != nil || !self.unknown.isEmpty)
            ? nil : Self.first(of: self.allowing, subject, &observer)
        var decision =
            if let denied {
                PolicyDecision(isAllowed: false, policy: denied.policy, rule: denied.rule, reason: .matchedDeny)
            } else if let name = self.unknown.first {
                PolicyDecision(isAllowed: false, policy: name, reason: .unknownPolicy)
            } else if self.allowing.isEmpty {
                PolicyDecision(isAllowed: true, reason: .noPolicies)
            } else if let allowed {
                PolicyDecision(isAllowed: true, policy: allowed.policy, rule: allowed.rule, reason: .matchedAllow)
            } else {
                PolicyDecision(isAllowed: false, reason: .noAllowMatched)
            }
        for policy in self.dryRun {
            let rule = Self.firstRule(of: policy, subject, &observer)
            let wouldAllow =
                switch policy.action {
                case .deny: decision.isAllowed && rule == nil
                case .allow: denied == nil && self.unknown.isEmpty && (rule != nil || allowed != nil)
                }
            decision.dryRun.append(
                .init(policy: policy.id, action: policy.action, rule: rule, wouldAllow: wouldAllow))
        }
        return decision
    }

    private static func first<Observer: PolicyObserver>(
        of policies: [AuthorizationPolicy], _ subject: PolicySubject, _ observer: inout Observer
    ) -> (policy: NamespacedName, rule: Int)? {
        var result: (policy: NamespacedName, rule: Int)?
        for policy in policies {
            guard let rule = Self.firstRule(of: policy, subject, &observer), result == nil else { continue }
            result = (policy.id, rule)
            if !Observer.isExhaustive { break }
        }
        return result
    }

    private static func firstRule<Observer: PolicyObserver>(
        of policy: AuthorizationPolicy, _ subject: PolicySubject, _ observer: inout Observer
    ) -> Int? {
        var result: Int?
        observer.begin(policy)
        for (index, rule) in policy.rules.enumerated() {
            guard Self.matches(rule, subject, &observer), result == nil else { continue }
            result = index
            if !Observer.isExhaustive { break }
        }
        observer.end(matchedRule: result)
        return result
    }

    private static func matches<Observer: PolicyObserver>(
        _ rule: AuthorizationPolicy.Rule, _ subject: PolicySubject, _ observer: inout Observer
    ) -> Bool {
        var holds = true
        observer.beginRule()
        for clause in rule.clauses {
            var matched = false
            observer.beginClause()
            for match in clause.matches {
                let failure = match.firstFailure(subject)
                observer.match(failure)
                if failure == nil { matched = true }
                if matched, !Observer.isExhaustive { break }
            }
            observer.endClause(isMatched: matched)
            if !matched { holds = false }
            if !holds, !Observer.isExhaustive { break }
        }
        observer.endRule(isMatched: holds)
        return holds
    }
}

/// Watches an evaluation. It cannot change what the evaluation says; it only decides whether the parts that can no
/// longer matter are visited too.
private protocol PolicyObserver {
    static var isExhaustive: Bool { get }
    mutating func begin(_ policy: AuthorizationPolicy)
    mutating func beginRule()
    mutating func beginClause()
    mutating func match(_ failure: AuthorizationPolicy.Match.Field?)
    mutating func endClause(isMatched: Bool)
    mutating func endRule(isMatched: Bool)
    mutating func end(matchedRule: Int?)
}

private struct SilentObserver: PolicyObserver {
    static var isExhaustive: Bool { false }
    func begin(_: AuthorizationPolicy) {}
    func beginRule() {}
    func beginClause() {}
    func match(_: AuthorizationPolicy.Match.Field?) {}
    func endClause(isMatched _: Bool) {}
    func endRule(isMatched _: Bool) {}
    func end(matchedRule _: Int?) {}
}

private struct RecordingObserver: PolicyObserver {
    static var isExhaustive: Bool { true }
    var policies: [PolicyTrace.Policy] = []
    private var policy: AuthorizationPolicy?
    private var rules: [PolicyTrace.Rule] = []
    private var clauses: [PolicyTrace.Clause] = []
    private var failures: [AuthorizationPolicy.Match.Field?] = []

    mutating func begin(_ policy: AuthorizationPolicy) {
        self.policy = policy
        self.rules = []
    }

    mutating func beginRule() { self.clauses = [] }

    mutating func beginClause() { self.failures = [] }

    mutating func match(_ failure: AuthorizationPolicy.Match.Field?) { self.failures.append(failure) }

    mutating func endClause(isMatched: Bool) {
        self.clauses.append(.init(isMatched: isMatched, failures: self.failures))
    }

    mutating func endRule(isMatched: Bool) { self.rules.append(.init(isMatched: isMatched, clauses: self.clauses)) }

    mutating func end(matchedRule: Int?) {
        guard let policy = self.policy else { return }
        self.policies.append(
            .init(
                id: policy.id, scope: policy.scope, action: policy.action, isDryRun: policy.isDryRun,
                matchedRule: matchedRule, rules: self.rules))
    }
}

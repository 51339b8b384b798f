// SPDX-License-Identifier: Apache-2.0

/// Every policy of the mesh, by where it applies.
struct PolicyIndex: Sendable {
    private let enforced: [NamespacedName: AuthorizationPolicy]
    private let dryRun: [NamespacedName: AuthorizationPolicy]
    private let global: [AuthorizationPolicy]
    private let byNamespace: [String: [AuthorizationPolicy]]

    var count: Int { self.enforced.count + self.dryRun.count }

    /// Of two with one name the later counts, but never a dry run in the place of an enforced one: while a policy
    /// changes from one to the other both may be known.
    init(_ policies: [AuthorizationPolicy]) {
        let enforced = Dictionary(
            policies.filter { !$0.isDryRun }.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
        self.enforced = enforced
        self.dryRun = Dictionary(
            policies.filter { $0.isDryRun && enforced[$0.id] == nil }.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
        let all = Array(self.enforced.values) + Array(self.dryRun.values)
        self.global = all.filter { $0.scope == .global }
        self.byNamespace = Dictionary(grouping: all.filter { $0.scope == .namespace }, by: \.id.namespace)
    }

    func policies(for workload: Workload) -> PolicySet {
        var applicable = self.global + (self.byNamespace[workload.id.namespace] ?? [])
        var unknown: [NamespacedName] = []
        for name in workload.policies {
            // Another control plane may name both kinds in this list.
            if let policy = self.enforced[name] ?? self.dryRun[name] {
                applicable.append(policy)
            } else {
                unknown.append(name)
            }
        }
        applicable += workload.dryRunPolicies.compactMap { self.dryRun[$0] }
        return PolicySet(applicable, unknown: unknown)
    }
}

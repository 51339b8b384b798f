// SPDX-License-Identifier: Apache-2.0

/// Policies by the ways in which they come to apply to a workload.
struct PolicyIndex: Sendable {
    private let byID: [NamespacedName: AuthorizationPolicy]
    private let global: [AuthorizationPolicy]
    private let byNamespace: [String: [AuthorizationPolicy]]

    var count: Int { self.byID.count }

    init(_ policies: [AuthorizationPolicy]) {
        self.byID = Dictionary(policies.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
        self.global = self.byID.values.filter { $0.scope == .global }
        self.byNamespace = Dictionary(
            grouping: self.byID.values.filter { $0.scope == .namespace }, by: \.id.namespace)
    }

    func policies(for workload: Workload) -> PolicySet {
        var applicable = self.global + (self.byNamespace[workload.id.namespace] ?? [])
        var unknown: [NamespacedName] = []
        for name in workload.policies {
            if let policy = self.byID[name] { applicable.append(policy) } else { unknown.append(name) }
        }
        return PolicySet(applicable, unknown: unknown)
    }
}

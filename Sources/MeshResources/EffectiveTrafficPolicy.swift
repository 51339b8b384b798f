// SPDX-License-Identifier: Apache-2.0

package import MeshModel

/// What all DestinationRules and ConnectionLimits say of a service or a workload, taken together.
package struct EffectiveTrafficPolicy: Sendable {
    private struct Place: Hashable {
        /// The namespace that the rule is in.
        var namespace: String
        var host: DestinationHost
    }

    private let rootNamespace: String
    private var rules: [Place: DestinationRuleResource] = [:]
    private var services: [NamespacedName: [ConnectionLimitsResource]] = [:]
    private var workloads: [String: [ConnectionLimitsResource]] = [:]

    /// - Parameter rules: oldest first: of two with the same host in one namespace the first counts.
    package init(
        rules: [DestinationRuleResource], limits: [ConnectionLimitsResource], rootNamespace: String
    ) {
        self.rootNamespace = rootNamespace
        for rule in rules {
            guard let host = rule.host else { continue }
            let place = Place(namespace: rule.metadata.namespace, host: host)
            if self.rules[place] == nil { self.rules[place] = rule }
        }
        for limit in limits {
            if let service = limit.service {
                self.services[service, default: []].append(limit)
            } else {
                self.workloads[limit.metadata.namespace, default: []].append(limit)
            }
        }
    }

    /// The one rule that counts for a service: one in its own namespace before one in the root namespace, and in each
    /// the one that names it before one that names its namespace, before one that names all. Rules are not merged.
    package func rule(for service: NamespacedName) -> DestinationRuleResource? {
        for namespace in [service.namespace, self.rootNamespace] {
            for host in [.service(service), .namespace(service.namespace), .mesh] as [DestinationHost] {
                // A namespace speaks for itself only; the root namespace for all.
                if host == .mesh, namespace != self.rootNamespace { continue }
                if let rule = self.rules[Place(namespace: namespace, host: host)] { return rule }
            }
        }
        return nil
    }

    /// nil: nothing is said of it.
    package func policy(for service: NamespacedName) -> DestinationPolicy? {
        let policies = [self.rule(for: service)?.policy] + (self.services[service] ?? []).map(\.policy)
        let result = policies.compactMap { $0 }.reduce(DestinationPolicy()) { $0.strictest($1) }
        return result == DestinationPolicy() ? nil : result
    }

    /// What the service says itself, unless a rule says something else. A service that is for its own node only stays
    /// so.
    package func loadBalancing(for service: ServiceResource) -> LoadBalancing {
        let own = service.loadBalancing
        return own.mode == .strict ? own : self.rule(for: service.id)?.loadBalancing ?? own
    }

    /// nil: nothing is said of it.
    package func limits(labels: [String: String], namespace: String) -> WorkloadLimits? {
        var result = WorkloadLimits()
        for place in Set([namespace, self.rootNamespace]) {
            for limit in self.workloads[place] ?? [] where limit.spec.selector?.matches(labels) ?? true {
                result = result.strictest(limit.limits)
            }
        }
        return result == WorkloadLimits() ? nil : result
    }
}

/// The smaller of two limits, where nil is none.
private func strictest<Figure: Comparable>(_ one: Figure?, _ other: Figure?) -> Figure? {
    guard let one, let other else { return one ?? other }
    return min(one, other)
}

extension DestinationPolicy {
    /// The stricter of each figure; times and outlier detection are this one's, if it has any.
    fileprivate func strictest(_ other: DestinationPolicy) -> DestinationPolicy {
        DestinationPolicy(
            maxConnections: MeshResources.strictest(self.maxConnections, other.maxConnections),
            maxPending: MeshResources.strictest(self.maxPending, other.maxPending),
            connectsPerSecond: MeshResources.strictest(self.connectsPerSecond, other.connectsPerSecond),
            connectTimeout: self.connectTimeout ?? other.connectTimeout,
            outlierDetection: self.outlierDetection ?? other.outlierDetection)
    }
}

extension WorkloadLimits {
    fileprivate func strictest(_ other: WorkloadLimits) -> WorkloadLimits {
        WorkloadLimits(
            connectionsPerSecond: MeshResources.strictest(self.connectionsPerSecond, other.connectionsPerSecond),
            handshakesPerSecond: MeshResources.strictest(self.handshakesPerSecond, other.handshakesPerSecond),
            maxConnections: MeshResources.strictest(self.maxConnections, other.maxConnections),
            bytesPerSecond: MeshResources.strictest(self.bytesPerSecond, other.bytesPerSecond))
    }
}

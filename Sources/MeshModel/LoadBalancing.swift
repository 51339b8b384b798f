// SPDX-License-Identifier: Apache-2.0

/// Which endpoints of a service a client prefers (`LoadBalancing` of the workload discovery service).
package struct LoadBalancing: Hashable, Sendable {
    /// What an endpoint may have in common with the client.
    package enum Scope: String, Sendable, Hashable, CaseIterable { case region, zone, subzone, node, cluster, network }

    package enum Mode: String, Sendable, Hashable, CaseIterable {
        /// Every endpoint alike; the preference is not looked at.
        case any
        /// Only endpoints that match the whole preference.
        case strict
        /// Those that match most of it, in its order; the next best when none of them can be used.
        case failover
    }

    /// The first is the most important: an endpoint matches as far as all scopes up to there agree.
    package var preference: [Scope]
    package var mode: Mode

    package init(preference: [Scope] = [], mode: Mode = .any) {
        self.preference = preference
        self.mode = mode
    }
}

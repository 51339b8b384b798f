// SPDX-License-Identifier: Apache-2.0

package import MeshModel

/// Counts what dry-run policies said of connections. Any thread may call it.
package struct DryRunMetrics: Sendable {
    private let decisions: Metric<Counter>

    package init(registry: MetricsRegistry) {
        self.decisions = registry.counter(
            "nodemesh_policy_dry_run_total",
            help: "Connections that a dry-run policy was asked about, by what enforcing it would have changed.",
            labels: ["policy", "result"])
    }

    /// Once for each connection about which this node decided.
    package func count(_ record: ConnectionRecord) {
        guard let reason = record.policyReason else { return }
        for outcome in record.dryRun {
            let result =
                outcome.wouldAllow == reason.isAllowed ? "unchanged" : outcome.wouldAllow ? "would_allow" : "would_deny"
            self.decisions.with([outcome.policy.description, result]).increment()
        }
    }
}

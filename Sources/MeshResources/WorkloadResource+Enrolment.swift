// SPDX-License-Identifier: Apache-2.0

extension WorkloadResource.Spec {
    /// What an enrolment file says about a workload of the node, beside its addresses, service account and weight.
    package struct Enrolment: Codable, Hashable, Sendable {
        /// Absolute path, with or without the cgroup v2 mount before it; or there is a unit.
        package var cgroup: String?
        /// A systemd unit.
        package var unit: String?
        /// Path such as `/run/netns/web`.
        package var networkNamespace: String?
        /// `wait` or `forget`; nil: `wait`.
        package var whenGone: String?
        /// `closed` or `open`; nil: the node's.
        package var failMode: String?
        package var excludePorts: [UInt16]
        package var excludeInboundPorts: [UInt16]
        package var excludePrefixes: [String]
        package var originalDestination: Bool?
        /// `sockmap`; nil: nothing.
        package var accelerate: String?
        /// `off`; nil: as the node has it.
        package var dns: String?
        /// Then the cgroup is the parent of the workloads.
        package var template: Template?

        package init() {
            self.excludePorts = []
            self.excludeInboundPorts = []
            self.excludePrefixes = []
        }
    }

    /// How the children of a cgroup are named; texts may hold `$capture`.
    package struct Template: Codable, Hashable, Sendable {
        package var pattern: String
        package var name: String?
        package var namespace: String?
        package var serviceAccount: String?
        package var labels: [String: String]
        /// nil: true.
        package var isGuarded: Bool?

        package init(pattern: String) {
            self.pattern = pattern
            self.labels = [:]
        }
    }
}

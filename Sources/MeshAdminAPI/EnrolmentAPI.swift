// SPDX-License-Identifier: Apache-2.0

import Foundation

/// `POST /v1/workloads` of a node.
package struct EnrolRequest: Codable, Sendable, Hashable {
    package var namespace: String
    package var name: String
    package var serviceAccount: String
    package var labels: [String: String]
    /// Absolute path below the cgroup v2 mount.
    package var cgroup: String
    /// The systemd unit that the cgroup was found by, for people.
    package var unit: String?
    /// Path such as `/run/netns/web`; nil: found from the cgroup's processes.
    package var networkNamespace: String?
    /// nil: every global address of the network namespace.
    package var addresses: [String]?
    /// Share in endpoint choice, from 1 to 1000000; nil: 1.
    package var weight: Int?
    /// What becomes of the enrolment when the cgroup goes: `wait` for it to come back, or `forget`; nil: `forget`.
    package var whenGone: String?
    /// Destination ports that are never captured.
    package var excludedOutboundPorts: [UInt16]?
    /// Own ports whose connections are left alone.
    package var excludedInboundPorts: [UInt16]?
    /// CIDR blocks that are never captured.
    package var excludedPrefixes: [String]?
    /// `closed` or `open`; nil: the node's.
    package var failMode: String?
    /// Applications may ask `SO_ORIGINAL_DST`; costs each of their `getsockopt(2)` a little.
    package var answersOriginalDestination: Bool?
    /// `sockmap`: direct connections with workloads that say the same go through a socket map; nil: none does.
    package var accelerate: String?
    /// `off`: its names are asked of its resolvers as if nodemesh were not there; nil: as the node has it.
    package var dns: String?

    package init(
        namespace: String, name: String, serviceAccount: String, labels: [String: String], cgroup: String,
        unit: String? = nil, networkNamespace: String? = nil, addresses: [String]? = nil, weight: Int? = nil,
        whenGone: String? = nil, excludedOutboundPorts: [UInt16]? = nil, excludedInboundPorts: [UInt16]? = nil,
        excludedPrefixes: [String]? = nil, failMode: String? = nil, answersOriginalDestination: Bool? = nil,
        accelerate: String? = nil, dns: String? = nil
    ) {
        self.namespace = namespace
        self.name = name
        self.serviceAccount = serviceAccount
        self.labels = labels
        self.cgroup = cgroup
        self.unit = unit
        self.networkNamespace = networkNamespace
        self.addresses = addresses
        self.weight = weight
        self.whenGone = whenGone
        self.excludedOutboundPorts = excludedOutboundPorts
        self.excludedInboundPorts = excludedInboundPorts
        self.excludedPrefixes = excludedPrefixes
        self.failMode = failMode
        self.answersOriginalDestination = answersOriginalDestination
        self.accelerate = accelerate
        self.dns = dns
    }
}

/// `POST /v1/templates` and `GET /v1/templates` of a node: every child of a cgroup becomes a workload.
package struct EnrolTemplate: Codable, Sendable, Hashable {
    /// What it is called on this node.
    package var name: String
    /// What each child is enrolled with. Its name, namespace, service account and labels' values may hold `$capture`;
    /// its cgroup is the children's parent.
    package var workload: EnrolRequest
    /// A regular expression that a child's directory name must match as a whole, with named captures.
    package var namePattern: String
    /// A child that is not enrolled is refused connections into the mesh.
    package var isGuarded: Bool

    package init(name: String, workload: EnrolRequest, namePattern: String, isGuarded: Bool) {
        self.name = name
        self.workload = workload
        self.namePattern = namePattern
        self.isGuarded = isGuarded
    }
}

/// One element of the answer to `GET /v1/templates`.
package struct TemplateSummary: Codable, Sendable, Hashable {
    package var template: EnrolTemplate
    /// Where it was declared: `api`, or a file and its line.
    package var origin: String
    /// Children that are enrolled now.
    package var enrolled: Int
    /// Children that cannot be, and why; at most 100.
    package var problems: [String: String]
    /// Whether the parent is there and guarded.
    package var isGuarding: Bool

    package init(
        template: EnrolTemplate, origin: String, enrolled: Int, problems: [String: String], isGuarding: Bool
    ) {
        self.template = template
        self.origin = origin
        self.enrolled = enrolled
        self.problems = problems
        self.isGuarding = isGuarding
    }
}

/// `GET /v1/workloads` of a node; also the answer to an enrolment.
package struct EnrolledWorkload: Codable, Sendable, Hashable {
    package var namespace: String
    package var name: String
    package var serviceAccount: String
    package var labels: [String: String]
    package var cgroup: String
    package var networkNamespace: String?
    package var addresses: [String]
    package var identity: String
    /// `enrolled`, `registering`, `refused`, `absent` (waits for its cgroup), `empty` (waits for its first process) or
    /// `failed`.
    package var state: String
    package var reason: String?
    package var certificateExpiresAt: Date?
    /// What all ConnectionLimits together leave it, by field.
    package var limits: [String: String]?
    /// Who declared it: `api`, a file and its line, or `template NAME`.
    package var origin: String?
    package var unit: String?
    /// `own` or `shared`; nil while it is absent.
    package var network: String?
    /// `closed` or `open`, where it is not the node's.
    package var failMode: String?
    /// Connections that were there before the enrolment, or are excluded.
    package var uncaptured: Int?

    package init(
        namespace: String, name: String, serviceAccount: String, labels: [String: String], cgroup: String,
        networkNamespace: String?, addresses: [String], identity: String, state: String, reason: String?,
        certificateExpiresAt: Date?, limits: [String: String]? = nil, origin: String? = nil, unit: String? = nil,
        network: String? = nil, failMode: String? = nil, uncaptured: Int? = nil
    ) {
        self.namespace = namespace
        self.name = name
        self.serviceAccount = serviceAccount
        self.labels = labels
        self.cgroup = cgroup
        self.networkNamespace = networkNamespace
        self.addresses = addresses
        self.identity = identity
        self.state = state
        self.reason = reason
        self.certificateExpiresAt = certificateExpiresAt
        self.limits = limits
        self.origin = origin
        self.unit = unit
        self.network = network
        self.failMode = failMode
        self.uncaptured = uncaptured
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation

/// `GET /v1/status` of a node.
package struct NodeStatus: Codable, Sendable, Hashable {
    package struct ControlPlane: Codable, Sendable, Hashable {
        package var address: String
        package var isConnected: Bool
        /// Seconds since the view was last confirmed; nil: never.
        package var viewAgeSeconds: Double?
        package var lastError: String?
        /// Seconds since the control plane last said anything to this run of the daemon; nil: never.
        package var contactAgeSeconds: Double?
        /// The view is older than maxStaleness, and new connections are refused.
        package var isStale: Bool?
        /// The view on disk, with which a start without the control plane begins, is this one; nil: none is kept.
        package var isViewKept: Bool?
        package init(
            address: String, isConnected: Bool, viewAgeSeconds: Double?, lastError: String?,
            contactAgeSeconds: Double? = nil, isStale: Bool? = nil, isViewKept: Bool? = nil
        ) {
            self.contactAgeSeconds = contactAgeSeconds
            self.isStale = isStale
            self.isViewKept = isViewKept
            self.address = address
            self.isConnected = isConnected
            self.viewAgeSeconds = viewAgeSeconds
            self.lastError = lastError
        }
    }

    package struct Map: Codable, Sendable, Hashable {
        package var name: String
        package var entries: Int?
        package var capacity: Int
        package init(name: String, entries: Int?, capacity: Int) {
            self.name = name
            self.entries = entries
            self.capacity = capacity
        }
    }

    package var node: String
    package var version: String
    package var startedAt: Date
    package var trustDomain: String
    package var isReady: Bool
    /// What the node waits for or what is wrong with it; nil when it is ready.
    package var problem: String?
    package var controlPlane: ControlPlane
    package var certificate: CertificateSummary?
    package var failMode: String
    package var loops: Int
    package var connectionsOpen: Int
    package var workloads: Int
    package var services: Int
    package var meshPrefixes: [String]
    /// eBPF decisions by reason.
    package var steering: [String: UInt64]
    package var maps: [Map]
    /// How the last try of the canary ended; nil: none was made yet, or it is switched off.
    package var canary: CanaryStatus?
    /// Connections refused by the eBPF programs since their maps were made, by reason.
    package var refusals: [String: UInt64]?
    /// Enrolments that wait for their cgroup, or cannot be made.
    package var waiting: Int?
    /// What is wrong in enrolment files, with file and line.
    package var enrolmentProblems: [String]?
    /// What an operator should know while traffic goes on, as sentences.
    package var alarms: [String]?
    /// What this run took over from the one before; nil: nothing.
    package var handOver: HandOverStatus?
    /// Configuration keys that have changed and need a restart.
    package var pendingRestart: [String]?
    /// Why the last reload changed nothing.
    package var configurationProblems: [String]?

    package init(
        node: String, version: String, startedAt: Date, trustDomain: String, isReady: Bool, problem: String? = nil,
        controlPlane: ControlPlane, certificate: CertificateSummary?, failMode: String, loops: Int,
        connectionsOpen: Int, workloads: Int, services: Int, meshPrefixes: [String], steering: [String: UInt64],
        maps: [Map], canary: CanaryStatus? = nil, refusals: [String: UInt64]? = nil, waiting: Int? = nil,
        enrolmentProblems: [String]? = nil, alarms: [String]? = nil, handOver: HandOverStatus? = nil,
        pendingRestart: [String]? = nil, configurationProblems: [String]? = nil
    ) {
        self.alarms = alarms
        self.handOver = handOver
        self.pendingRestart = pendingRestart
        self.configurationProblems = configurationProblems
        self.enrolmentProblems = enrolmentProblems
        self.problem = problem
        self.canary = canary
        self.refusals = refusals
        self.waiting = waiting
        self.node = node
        self.version = version
        self.startedAt = startedAt
        self.trustDomain = trustDomain
        self.isReady = isReady
        self.controlPlane = controlPlane
        self.certificate = certificate
        self.failMode = failMode
        self.loops = loops
        self.connectionsOpen = connectionsOpen
        self.workloads = workloads
        self.services = services
        self.meshPrefixes = meshPrefixes
        self.steering = steering
        self.maps = maps
    }
}

/// `GET /v1/connections` of a node.
package struct ConnectionSummary: Codable, Sendable, Hashable {
    package var id: String
    /// `outbound` or `inbound`.
    package var direction: String
    /// `connecting`, `handshaking`, `established`, `halfClosed`.
    package var state: String
    /// `namespace/name`, when it is a workload.
    package var source: String?
    package var sourceAddress: String
    package var sourceIdentity: String?
    /// What the client dialled.
    package var destination: String
    package var service: String?
    package var destinationWorkload: String?
    package var destinationIdentity: String?
    /// Where the bytes go.
    package var upstream: String?
    /// `plaintext`, `local` or `splice`.
    package var wire: String
    /// What seals and opens a tunnel's records on this node: `user` or `kernel`; nil: no tunnel.
    package var engine: String?
    package var bytesSent: UInt64
    package var bytesReceived: UInt64
    package var ageSeconds: Double

    package init(
        id: String, direction: String, state: String, source: String?, sourceAddress: String, sourceIdentity: String?,
        destination: String, service: String?, destinationWorkload: String?, destinationIdentity: String?,
        upstream: String?, wire: String, engine: String? = nil, bytesSent: UInt64, bytesReceived: UInt64,
        ageSeconds: Double
    ) {
        self.id = id
        self.direction = direction
        self.state = state
        self.source = source
        self.sourceAddress = sourceAddress
        self.sourceIdentity = sourceIdentity
        self.destination = destination
        self.service = service
        self.destinationWorkload = destinationWorkload
        self.destinationIdentity = destinationIdentity
        self.upstream = upstream
        self.wire = wire
        self.engine = engine
        self.bytesSent = bytesSent
        self.bytesReceived = bytesReceived
        self.ageSeconds = ageSeconds
    }
}

/// How a try of the canary ended: a process in an enrolled cgroup that connects into the mesh.
package struct CanaryStatus: Codable, Sendable, Hashable {
    /// `captured`, `refused` or `alarm`.
    package var outcome: String
    /// What was seen.
    package var detail: String
    package var at: Date

    package init(outcome: String, detail: String, at: Date) {
        self.outcome = outcome
        self.detail = detail
        self.at = at
    }
}

/// `GET /v1/connections/uncaptured` of a node: a connection of an enrolled workload that does not go through the mesh.
package struct UncapturedConnection: Codable, Sendable, Hashable {
    /// `namespace/name`.
    package var workload: String
    /// `outbound` or `inbound`, as far as ports tell.
    package var direction: String
    package var local: String
    package var remote: String
    package var state: String
    /// Why it is not captured: `before_enrolment` or `excluded`.
    package var reason: String

    package init(
        workload: String, direction: String, local: String, remote: String, state: String, reason: String
    ) {
        self.workload = workload
        self.direction = direction
        self.local = local
        self.remote = remote
        self.state = state
        self.reason = reason
    }
}

/// `GET /v1/explain?source=NAMESPACE/NAME&destination=HOST:PORT` of a node and of the control plane: what would happen to
/// this connection. The source may be the IP address of somebody outside the mesh.
package struct Explanation: Codable, Sendable, Hashable {
    package struct Step: Codable, Sendable, Hashable {
        /// `capture`, `limits`, `service`, `traffic`, `endpoint`, `wire`, `certificate`, `inbound`, `mtls` or `policy`.
        package var stage: String
        package var outcome: String
        package var detail: String
        /// Of a policy: every rule, clause and condition.
        package var check: PolicyCheck?

        package init(stage: String, outcome: String, detail: String, check: PolicyCheck? = nil) {
            self.stage = stage
            self.outcome = outcome
            self.detail = detail
            self.check = check
        }
    }

    package var source: String
    package var destination: String
    package var steps: [Step]
    /// `allowed`, `denied`, `refused` or `notCaptured`.
    package var verdict: String
    /// The close reason a refused or denied connection would get, or the kernel's word for one that it leaves alone or
    /// refuses itself.
    package var reason: String?
    /// `namespace/name` of the policy that decides, and the rule's position from 0.
    package var policy: String?
    package var rule: Int?
    /// Whose state this is; nil: that of the control plane.
    package var node: String?
    /// What limits the answer.
    package var notes: [String]

    package init(
        source: String, destination: String, steps: [Step], verdict: String, reason: String?, policy: String?,
        rule: Int?, node: String? = nil, notes: [String] = []
    ) {
        self.node = node
        self.notes = notes
        self.source = source
        self.destination = destination
        self.steps = steps
        self.verdict = verdict
        self.reason = reason
        self.policy = policy
        self.rule = rule
    }
}

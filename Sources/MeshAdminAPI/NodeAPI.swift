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
        package init(address: String, isConnected: Bool, viewAgeSeconds: Double?, lastError: String?) {
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

    package init(
        node: String, version: String, startedAt: Date, trustDomain: String, isReady: Bool,
        controlPlane: ControlPlane, certificate: CertificateSummary?, failMode: String, loops: Int,
        connectionsOpen: Int, workloads: Int, services: Int, meshPrefixes: [String], steering: [String: UInt64],
        maps: [Map]
    ) {
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

/// `POST /v1/workloads` of a node.
package struct EnrolRequest: Codable, Sendable, Hashable {
    package var namespace: String
    package var name: String
    package var serviceAccount: String
    package var labels: [String: String]
    /// Absolute path below the cgroup v2 mount.
    package var cgroup: String
    /// Path such as `/run/netns/web`; nil: found from the cgroup's processes.
    package var networkNamespace: String?
    /// nil: every global address of the network namespace.
    package var addresses: [String]?
    /// Share in endpoint choice, from 1 to 1000000; nil: 1.
    package var weight: Int?

    package init(
        namespace: String, name: String, serviceAccount: String, labels: [String: String], cgroup: String,
        networkNamespace: String? = nil, addresses: [String]? = nil, weight: Int? = nil
    ) {
        self.namespace = namespace
        self.name = name
        self.serviceAccount = serviceAccount
        self.labels = labels
        self.cgroup = cgroup
        self.networkNamespace = networkNamespace
        self.addresses = addresses
        self.weight = weight
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
    /// `enrolled`, `registering`, `refused` or `gone`.
    package var state: String
    package var reason: String?
    package var certificateExpiresAt: Date?
    /// What all ConnectionLimits together leave it, by field.
    package var limits: [String: String]?

    package init(
        namespace: String, name: String, serviceAccount: String, labels: [String: String], cgroup: String,
        networkNamespace: String?, addresses: [String], identity: String, state: String, reason: String?,
        certificateExpiresAt: Date?, limits: [String: String]? = nil
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

/// `GET /v1/explain?source=NAMESPACE/NAME&destination=HOST:PORT` of a node: what would happen to this connection.
package struct Explanation: Codable, Sendable, Hashable {
    package struct Step: Codable, Sendable, Hashable {
        /// `capture`, `limits`, `service`, `traffic`, `endpoint`, `wire`, `certificate` or `policy`.
        package var stage: String
        package var outcome: String
        package var detail: String
        package init(stage: String, outcome: String, detail: String) {
            self.stage = stage
            self.outcome = outcome
            self.detail = detail
        }
    }

    package var source: String
    package var destination: String
    package var steps: [Step]
    /// `allowed`, `denied`, `refused` or `notCaptured`.
    package var verdict: String
    /// The close reason a refused or denied connection would get.
    package var reason: String?
    /// `namespace/name` of the policy that decides, and the rule's position from 0.
    package var policy: String?
    package var rule: Int?

    package init(
        source: String, destination: String, steps: [Step], verdict: String, reason: String?, policy: String?,
        rule: Int?
    ) {
        self.source = source
        self.destination = destination
        self.steps = steps
        self.verdict = verdict
        self.reason = reason
        self.policy = policy
        self.rule = rule
    }
}

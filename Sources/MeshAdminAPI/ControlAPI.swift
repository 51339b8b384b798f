// SPDX-License-Identifier: Apache-2.0

import Foundation

/// `POST /v1/apply` (YAML or JSON documents; `?dryRun=true` validates only) and `POST /v1/delete` (also
/// `?ignoreNotFound=true`: what does not exist is `unchanged`) answer with this.
package struct ApplyResponse: Codable, Sendable, Hashable {
    package var results: [ApplyResult]
    package init(results: [ApplyResult]) { self.results = results }
}

/// What became of one resource.
package struct ApplyResult: Codable, Sendable, Hashable {
    package enum Outcome: String, Codable, Sendable { case created, configured, unchanged, deleted }

    package var kind: String
    package var namespace: String
    package var name: String
    package var outcome: Outcome

    package init(kind: String, namespace: String, name: String, outcome: Outcome) {
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.outcome = outcome
    }
}

/// `POST /v1/join-tokens`.
package struct JoinTokenRequest: Codable, Sendable, Hashable {
    /// The one node name that may use it; nil: any.
    package var node: String?
    /// Seconds until it is void; nil: the control plane's default.
    package var ttlSeconds: Int?

    package init(node: String? = nil, ttlSeconds: Int? = nil) {
        self.node = node
        self.ttlSeconds = ttlSeconds
    }
}

/// A token as it is shown once, at creation.
package struct JoinTokenResponse: Codable, Sendable, Hashable {
    package var token: String
    package var node: String?
    package var expiresAt: Date
    /// `sha256:<hex>` of the control plane's root certificate (DER).
    package var caFingerprint: String
    /// The line to paste on the node.
    package var command: String

    package init(token: String, node: String?, expiresAt: Date, caFingerprint: String, command: String) {
        self.token = token
        self.node = node
        self.expiresAt = expiresAt
        self.caFingerprint = caFingerprint
        self.command = command
    }
}

/// `GET /v1/join-tokens`: what is left of a token after its creation, without the secret.
package struct JoinTokenSummary: Codable, Sendable, Hashable {
    package var id: String
    /// The one node name that may use it; nil: any.
    package var node: String?
    package var createdAt: Date
    package var expiresAt: Date
    package var usedAt: Date?
    /// The node that joined with it.
    package var usedBy: String?

    package init(
        id: String, node: String?, createdAt: Date, expiresAt: Date, usedAt: Date? = nil, usedBy: String? = nil
    ) {
        self.id = id
        self.node = node
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.usedAt = usedAt
        self.usedBy = usedBy
    }
}

/// `GET /v1/nodes`.
package struct NodeSummary: Codable, Sendable, Hashable {
    package var name: String
    package var addresses: [String]
    package var tunnelPort: Int
    /// Heard from within the node timeout.
    package var isAlive: Bool
    package var joinedAt: Date
    package var lastSeenAt: Date?
    package var workloads: Int
    /// `region/zone/subzone`, as far as the node knows.
    package var locality: String?

    package init(
        name: String, addresses: [String], tunnelPort: Int, isAlive: Bool, joinedAt: Date, lastSeenAt: Date?,
        workloads: Int, locality: String? = nil
    ) {
        self.name = name
        self.addresses = addresses
        self.tunnelPort = tunnelPort
        self.isAlive = isAlive
        self.joinedAt = joinedAt
        self.lastSeenAt = lastSeenAt
        self.workloads = workloads
        self.locality = locality
    }
}

/// `GET /v1/workloads`.
package struct WorkloadSummary: Codable, Sendable, Hashable {
    package var namespace: String
    package var name: String
    package var serviceAccount: String
    package var identity: String
    package var node: String
    package var addresses: [String]
    package var labels: [String: String]
    package var isHealthy: Bool
    /// `namespace/name` of each service it backs.
    package var services: [String]
    /// `namespace/name` of each policy that selects it.
    package var policies: [String]
    /// `region/zone/subzone`, as far as it is known.
    package var locality: String?
    /// What all ConnectionLimits together leave it, by field.
    package var limits: [String: String]?

    package init(
        namespace: String, name: String, serviceAccount: String, identity: String, node: String, addresses: [String],
        labels: [String: String], isHealthy: Bool, services: [String], policies: [String], locality: String? = nil,
        limits: [String: String]? = nil
    ) {
        self.namespace = namespace
        self.name = name
        self.serviceAccount = serviceAccount
        self.identity = identity
        self.node = node
        self.addresses = addresses
        self.labels = labels
        self.isHealthy = isHealthy
        self.services = services
        self.policies = policies
        self.locality = locality
        self.limits = limits
    }
}

/// `GET /v1/services` of the control plane and of a node.
package struct ServiceSummary: Codable, Sendable, Hashable {
    package struct Port: Codable, Sendable, Hashable {
        package var name: String?
        package var port: Int
        package var targetPort: Int
        package init(name: String? = nil, port: Int, targetPort: Int) {
            self.name = name
            self.port = port
            self.targetPort = targetPort
        }
    }

    package struct Endpoint: Codable, Sendable, Hashable {
        /// `namespace/name`.
        package var workload: String
        package var node: String
        package var address: String
        package var isHealthy: Bool
        /// For how much longer the answering node sets it aside, since its connections to it failed; nil: it does not.
        package var ejectedSeconds: Int?
        package init(workload: String, node: String, address: String, isHealthy: Bool, ejectedSeconds: Int? = nil) {
            self.workload = workload
            self.node = node
            self.address = address
            self.isHealthy = isHealthy
            self.ejectedSeconds = ejectedSeconds
        }
    }

    package var namespace: String
    package var name: String
    package var hostname: String
    package var addresses: [String]
    package var ports: [Port]
    package var endpoints: [Endpoint]
    /// What the Service, its DestinationRule and ConnectionLimits say together, by field.
    package var traffic: [String: String]?

    package init(
        namespace: String, name: String, hostname: String, addresses: [String], ports: [Port], endpoints: [Endpoint],
        traffic: [String: String]? = nil
    ) {
        self.namespace = namespace
        self.name = name
        self.hostname = hostname
        self.addresses = addresses
        self.ports = ports
        self.endpoints = endpoints
        self.traffic = traffic
    }
}

/// `GET /v1/status` of the control plane.
package struct ControlStatus: Codable, Sendable, Hashable {
    package var version: String
    package var trustDomain: String
    package var caFingerprint: String
    package var caExpiresAt: Date
    package var nodes: Int
    package var nodesAlive: Int
    package var workloads: Int
    package var services: Int
    package var policies: Int
    package var startedAt: Date
    /// What an operator should know, as a sentence.
    package var problem: String?
    /// How far a rotation of the root is: `adding` or `switched`; nil: there is none.
    package var caRotation: String?
    /// Configuration keys that have changed and need a restart.
    package var pendingRestart: [String]?
    /// Why the last reload changed nothing.
    package var configurationProblems: [String]?

    package init(
        version: String, trustDomain: String, caFingerprint: String, caExpiresAt: Date, nodes: Int, nodesAlive: Int,
        workloads: Int, services: Int, policies: Int, startedAt: Date, problem: String? = nil,
        caRotation: String? = nil, pendingRestart: [String]? = nil, configurationProblems: [String]? = nil
    ) {
        self.problem = problem
        self.caRotation = caRotation
        self.pendingRestart = pendingRestart
        self.configurationProblems = configurationProblems
        self.version = version
        self.trustDomain = trustDomain
        self.caFingerprint = caFingerprint
        self.caExpiresAt = caExpiresAt
        self.nodes = nodes
        self.nodesAlive = nodesAlive
        self.workloads = workloads
        self.services = services
        self.policies = policies
        self.startedAt = startedAt
    }
}

/// `GET /v1/certificates` of the control plane (issued) and of a node (held).
package struct CertificateSummary: Codable, Sendable, Hashable {
    package var identity: String
    package var serial: String
    package var node: String
    package var notBefore: Date
    package var notAfter: Date
    /// On a node: `valid`, `pending`, `renewing`, `expired` or `not yet valid`, with the last error if there is one.
    package var state: String
    package var lastError: String?

    package init(
        identity: String, serial: String, node: String, notBefore: Date, notAfter: Date, state: String,
        lastError: String? = nil
    ) {
        self.identity = identity
        self.serial = serial
        self.node = node
        self.notBefore = notBefore
        self.notAfter = notAfter
        self.state = state
        self.lastError = lastError
    }
}

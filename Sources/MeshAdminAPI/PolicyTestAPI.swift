// SPDX-License-Identifier: Apache-2.0

import Foundation

/// `POST /v1/policy-test` of the control plane: what would proposed policies change?
package struct PolicyTestRequest: Codable, Sendable, Hashable {
    /// YAML or JSON documents: AuthorizationPolicies and PeerAuthentications. Those of the same name take the place of
    /// what there is, the others are added.
    package var resources: String
    /// Only these: every other policy counts as deleted. nil: false.
    package var replace: Bool?
    /// Seconds back from now, at most an hour; nil: an hour.
    package var sinceSeconds: Int?
    /// What to test against instead of what nodes have reported.
    package var connections: [RecordedConnection]?

    package init(
        resources: String, replace: Bool? = nil, sinceSeconds: Int? = nil, connections: [RecordedConnection]? = nil
    ) {
        self.resources = resources
        self.replace = replace
        self.sinceSeconds = sinceSeconds
        self.connections = connections
    }
}

/// Connections that are alike in everything a policy can ask, as an access log tells of them.
package struct RecordedConnection: Codable, Sendable, Hashable {
    /// `namespace/name`, where it is known.
    package var source: String?
    /// A SPIFFE ID; nil: plaintext from outside the mesh.
    package var sourceIdentity: String?
    package var sourceAddress: String
    /// `namespace/name`.
    package var workload: String
    /// `IP:PORT` of the workload, as its application listens.
    package var destination: String
    package var isDenied: Bool
    package var count: UInt64
    package var firstSeen: Date
    package var lastSeen: Date

    package init(
        source: String?, sourceIdentity: String?, sourceAddress: String, workload: String, destination: String,
        isDenied: Bool, count: UInt64, firstSeen: Date, lastSeen: Date
    ) {
        self.source = source
        self.sourceIdentity = sourceIdentity
        self.sourceAddress = sourceAddress
        self.workload = workload
        self.destination = destination
        self.isDenied = isDenied
        self.count = count
        self.firstSeen = firstSeen
        self.lastSeen = lastSeen
    }
}

/// The answer to ``PolicyTestRequest``.
package struct PolicyTestResult: Codable, Sendable, Hashable {
    /// Connections from one client to one port of a workload for which the answer would be another one.
    package struct Change: Codable, Sendable, Hashable {
        /// `denied` (it is allowed now) or `allowed` (it is denied now).
        package var becomes: String
        /// `namespace/name`, where it is known.
        package var source: String?
        /// nil: plaintext from outside the mesh.
        package var sourceIdentity: String?
        /// At most eight of them.
        package var sourceAddresses: [String]
        package var moreAddresses: Int
        package var workload: String
        package var port: Int
        package var connections: UInt64
        package var firstSeen: Date
        package var lastSeen: Date
        /// `namespace/name` of the policy that would decide, and the rule's position from 0.
        package var policy: String?
        package var rule: Int?
        /// Which clause would, or why nothing allows it.
        package var clause: String
        /// Why the answer is what it is now.
        package var present: String

        package init(
            becomes: String, source: String?, sourceIdentity: String?, sourceAddresses: [String], moreAddresses: Int,
            workload: String, port: Int, connections: UInt64, firstSeen: Date, lastSeen: Date, policy: String?,
            rule: Int?, clause: String, present: String
        ) {
            self.becomes = becomes
            self.source = source
            self.sourceIdentity = sourceIdentity
            self.sourceAddresses = sourceAddresses
            self.moreAddresses = moreAddresses
            self.workload = workload
            self.port = port
            self.connections = connections
            self.firstSeen = firstSeen
            self.lastSeen = lastSeen
            self.policy = policy
            self.rule = rule
            self.clause = clause
            self.present = present
        }
    }

    /// From when on connections were looked at.
    package var since: Date
    /// Connections for which the answer stays, and for which it would be another one.
    package var unchanged: UInt64
    package var changed: UInt64
    /// Connections to workloads that are not there any more: nothing can be said of them.
    package var gone: UInt64
    /// Connections that were not kept, for want of room.
    package var dropped: UInt64
    /// Names of the nodes that have reported since then; nil: the connections came with the request.
    package var nodes: [String]?
    /// Nodes that are alive and have not.
    package var silentNodes: [String]?
    /// Most connections first.
    package var changes: [Change]
    /// Further ones, for which there is no room here.
    package var moreChanges: Int
    /// What the reader should know.
    package var notes: [String]

    package init(
        since: Date, unchanged: UInt64, changed: UInt64, gone: UInt64, dropped: UInt64, nodes: [String]?,
        silentNodes: [String]?, changes: [Change], moreChanges: Int, notes: [String]
    ) {
        self.since = since
        self.unchanged = unchanged
        self.changed = changed
        self.gone = gone
        self.dropped = dropped
        self.nodes = nodes
        self.silentNodes = silentNodes
        self.changes = changes
        self.moreChanges = moreChanges
        self.notes = notes
    }
}

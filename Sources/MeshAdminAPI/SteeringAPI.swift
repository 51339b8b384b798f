// SPDX-License-Identifier: Apache-2.0

import Foundation

/// One line of `GET /v1/events` of a node: something that did not go the usual way, or a connection of the direct path.
package struct NodeEvent: Codable, Sendable, Hashable {
    /// RFC 3339, in UTC with microseconds.
    package var time: String
    /// `decision`, `directOpened`, `directClosed`, `alarm` or `lost`.
    package var kind: String
    /// The word of the metric, such as `inactive_refused`.
    package var reason: String
    /// `namespace/name`; nil when no workload of this node is known to be concerned.
    package var workload: String?
    package var identity: String?
    /// The other end, when it is a workload of this node.
    package var target: String?
    package var targetIdentity: String?
    package var source: String?
    /// As dialled.
    package var destination: String?
    /// Where it went.
    package var upstream: String?
    /// How a direct connection ended.
    package var close: String?
    package var durationSeconds: Double?
    package var bytesSent: UInt64?
    package var bytesReceived: UInt64?
    /// For people.
    package var detail: String?

    package init(
        time: String, kind: String, reason: String, workload: String? = nil, identity: String? = nil,
        target: String? = nil, targetIdentity: String? = nil, source: String? = nil, destination: String? = nil,
        upstream: String? = nil, close: String? = nil, durationSeconds: Double? = nil, bytesSent: UInt64? = nil,
        bytesReceived: UInt64? = nil, detail: String? = nil
    ) {
        self.time = time
        self.kind = kind
        self.reason = reason
        self.workload = workload
        self.identity = identity
        self.target = target
        self.targetIdentity = targetIdentity
        self.source = source
        self.destination = destination
        self.upstream = upstream
        self.close = close
        self.durationSeconds = durationSeconds
        self.bytesSent = bytesSent
        self.bytesReceived = bytesReceived
        self.detail = detail
    }

    /// Whether it is about this workload, as either end.
    package func concerns(workload: String) -> Bool { self.workload == workload || self.target == workload }

    /// Whether it is about this identity, as either end; `spiffe://` may be left out.
    package func concerns(identity: String) -> Bool {
        let names = [identity, "spiffe://\(identity)"]
        return [self.identity, self.targetIdentity].contains { $0.map(names.contains) ?? false }
    }
}

/// `GET /v1/bpf` of a node: what it has in the kernel.
package struct BPFSummary: Codable, Sendable, Hashable {
    package struct Program: Codable, Sendable, Hashable {
        package var name: String
        package var id: UInt32
        package var tag: String
        package var hook: String
        /// Bytes of machine code.
        package var jitedBytes: UInt32
        /// What the verifier walked through; nil before Linux 5.16.
        package var verifiedInstructions: UInt32?
        /// Only while `kernel.bpf_stats_enabled` is on.
        package var runs: UInt64?
        package var runNanoseconds: UInt64?
        package var loadedAt: Date?
        package init(
            name: String, id: UInt32, tag: String, hook: String, jitedBytes: UInt32, verifiedInstructions: UInt32?,
            runs: UInt64?, runNanoseconds: UInt64?, loadedAt: Date?
        ) {
            self.name = name
            self.id = id
            self.tag = tag
            self.hook = hook
            self.jitedBytes = jitedBytes
            self.verifiedInstructions = verifiedInstructions
            self.runs = runs
            self.runNanoseconds = runNanoseconds
            self.loadedAt = loadedAt
        }
    }

    package struct Link: Codable, Sendable, Hashable {
        package var pin: String
        package var hook: String
        /// A cgroup's path, or a network namespace's inode.
        package var target: String
        package var program: UInt32
        /// False: defunct, it leads nowhere any longer.
        package var isAttached: Bool
        package init(pin: String, hook: String, target: String, program: UInt32, isAttached: Bool) {
            self.pin = pin
            self.hook = hook
            self.target = target
            self.program = program
            self.isAttached = isAttached
        }
    }

    package struct Map: Codable, Sendable, Hashable {
        package var name: String
        package var type: String
        package var id: UInt32
        /// nil: the kernel does not count them.
        package var entries: Int?
        /// 0: no bound.
        package var capacity: Int
        package var memoryBytes: UInt64?
        package init(name: String, type: String, id: UInt32, entries: Int?, capacity: Int, memoryBytes: UInt64?) {
            self.name = name
            self.type = type
            self.id = id
            self.entries = entries
            self.capacity = capacity
            self.memoryBytes = memoryBytes
        }
    }

    package var programs: [Program]
    package var links: [Link]
    package var maps: [Map]

    package init(programs: [Program], links: [Link], maps: [Map]) {
        self.programs = programs
        self.links = links
        self.maps = maps
    }
}

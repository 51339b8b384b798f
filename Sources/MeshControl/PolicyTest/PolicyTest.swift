// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import MeshModel
import MeshResources

/// Asks the policies there are, and the ones there would be, about connections, and keeps the differences. Both answers
/// come from the evaluation that nodes run, on what nodes would be told.
struct PolicyTest {
    /// Groups of connections in the answer.
    static let maximumChanges = 1000
    private static let maximumAddresses = 8

    private struct Group: Hashable {
        var source: WorkloadID?
        var sourceIdentity: SPIFFEID?
        var workload: WorkloadID
        var port: UInt16
        var becomesAllowed: Bool
        var policy: NamespacedName?
        var rule: Int?
        var clause: String
        var present: String

        var order: [String] {
            [
                self.workload.description, "\(self.port)", self.source?.description ?? "",
                self.sourceIdentity?.description ?? "", self.clause,
            ]
        }
    }

    private struct Figures {
        var tally: DecidedTally
        var addresses: Set<IPAddress>
    }

    private struct Sets {
        var present: PolicySet
        var proposed: PolicySet
        /// Of the node that runs it.
        var node: String
    }

    private let present: MeshSnapshot
    private let proposed: MeshSnapshot
    private var sets: [WorkloadID: Sets] = [:]
    private var groups: [Group: Figures] = [:]
    private var unchanged: UInt64 = 0
    private var changed: UInt64 = 0
    private var gone: UInt64 = 0

    init(present: MeshProjection, proposed: MeshProjection) {
        self.present = MeshSnapshot(present)
        self.proposed = MeshSnapshot(proposed)
    }

    /// - Parameter node: who says so; nil: the one who asks.
    mutating func add(_ connection: DecidedConnection, _ tally: DecidedTally, from node: String?) {
        guard let sets = self.policies(of: connection.workload), node == nil || sets.node == node else {
            self.gone &+= tally.count
            return
        }
        let input = connection.input
        let (before, after) = (sets.present.decide(input), sets.proposed.decide(input))
        guard before.isAllowed != after.isAllowed else {
            self.unchanged &+= tally.count
            return
        }
        self.changed &+= tally.count
        let group = Group(
            source: connection.source, sourceIdentity: connection.sourceIdentity, workload: connection.workload,
            port: connection.destination.port, becomesAllowed: after.isAllowed, policy: after.policy,
            rule: after.rule, clause: Self.clause(after, of: sets.proposed, asked: input), present: before.text)
        var figures = self.groups[group] ?? Figures(tally: .init(count: 0, first: tally.first, last: 0), addresses: [])
        figures.tally.add(tally)
        figures.addresses.insert(connection.sourceIP)
        self.groups[group] = figures
    }

    private mutating func policies(of workload: WorkloadID) -> Sets? {
        if let known = self.sets[workload] { return known }
        guard let now = self.present.workload(workload), let then = self.proposed.workload(workload) else { return nil }
        let sets = Sets(
            present: self.present.policies(for: now), proposed: self.proposed.policies(for: then), node: now.node)
        self.sets[workload] = sets
        return sets
    }

    /// What decides: the rule that matches, or what every ALLOW policy failed on.
    private static func clause(_ decision: PolicyDecision, of set: PolicySet, asked input: PolicyInput) -> String {
        let checks = PolicyCheck.all(set.trace(input), of: set, asked: input)
        switch decision.reason {
        case .matchedAllow, .matchedDeny:
            return checks.first { $0.policy == decision.policy?.description && !$0.isDryRun }?.summary ?? decision.text
        case .noAllowMatched:
            let failed = checks.filter { $0.action == "ALLOW" && !$0.isDryRun }
            let more = failed.count > 3 ? "; and \(failed.count - 3) more" : ""
            return failed.prefix(3).map(\.summary).joined(separator: "; ") + more
        case .noPolicies, .unknownPolicy:
            return decision.text
        }
    }

    func result(since: Int64, dropped: UInt64, nodes: [String]?, silent: [String]?, notes: [String]) -> PolicyTestResult
    {
        let sorted = self.groups.sorted { left, right in
            left.value.tally.count == right.value.tally.count
                ? left.key.order.lexicographicallyPrecedes(right.key.order)
                : left.value.tally.count > right.value.tally.count
        }
        return PolicyTestResult(
            since: Self.date(since), unchanged: self.unchanged, changed: self.changed, gone: self.gone,
            dropped: dropped, nodes: nodes, silentNodes: silent,
            changes: sorted.prefix(Self.maximumChanges).map { Self.change($0.key, $0.value) },
            moreChanges: max(0, sorted.count - Self.maximumChanges), notes: notes)
    }

    private static func change(_ group: Group, _ figures: Figures) -> PolicyTestResult.Change {
        let addresses = figures.addresses.map(\.description).sorted()
        return PolicyTestResult.Change(
            becomes: group.becomesAllowed ? "allowed" : "denied", source: group.source?.description,
            sourceIdentity: group.sourceIdentity?.description,
            sourceAddresses: Array(addresses.prefix(Self.maximumAddresses)),
            moreAddresses: max(0, addresses.count - Self.maximumAddresses), workload: group.workload.description,
            port: Int(group.port), connections: figures.tally.count, firstSeen: Self.date(figures.tally.first),
            lastSeen: Self.date(figures.tally.last), policy: group.policy?.description, rule: group.rule,
            clause: group.clause, present: group.present)
    }

    private static func date(_ seconds: Int64) -> Date { Date(timeIntervalSince1970: TimeInterval(seconds)) }
}

extension MeshSnapshot {
    /// The mesh as a node is told of it, seen from `node`.
    package convenience init(_ projection: MeshProjection, node: String = "") {
        self.init(
            settings: projection.settings, localNode: node, workloads: projection.workloads,
            services: projection.services, nodes: projection.nodes, policies: projection.policies)
    }
}

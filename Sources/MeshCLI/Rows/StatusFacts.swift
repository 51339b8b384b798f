// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI

extension NodeStatus {
    /// - Parameter isWide: counters at zero and maps with room are shown too.
    func facts(at now: Date, isWide: Bool) -> Facts {
        var facts = Facts()
        facts.add("Node", self.node)
        facts.add(
            "Ready", self.isReady ? "yes" : self.problem.map { "no: \($0)" } ?? "no", self.isReady ? .good : .bad)
        facts.add("Version", "\(self.version), up \(Human.duration(now.timeIntervalSince(self.startedAt)))")
        facts.add("Trust domain", self.trustDomain)
        facts.add("Mesh prefixes", self.meshPrefixes.joined(separator: ", "))
        let view = self.controlPlane.viewAgeSeconds.map { age in
            let kept = self.controlPlane.isViewKept.map { $0 ? ", kept on disk" : ", not all of it on disk yet" } ?? ""
            return "view confirmed \(Human.duration(age)) ago\(kept)"
        }
        facts.add(
            "Control plane",
            "\(self.controlPlane.address), \(self.controlPlane.isConnected ? "connected" : "not connected"), \(view ?? "no view yet")",
            self.controlPlane.isConnected ? .good : .bad)
        if let error = self.controlPlane.lastError { facts.add("Last error", error, .warning) }
        for alarm in self.alarms ?? [] { facts.add("Alarm", alarm, .bad) }
        if let certificate = self.certificate {
            let text =
                "\(certificate.identity), \(certificate.state), expires \(Human.relative(certificate.notAfter, to: now))"
            facts.add("Certificate", text, certificate.notAfter <= now ? .bad : .plain)
        } else {
            facts.add("Certificate", "none", .bad)
        }
        facts.add("Fail mode", self.failMode, self.failMode == "closed" ? .plain : .warning)
        if let canary = self.canary {
            let age = Human.duration(now.timeIntervalSince(canary.at))
            facts.add(
                "Canary", "\(canary.outcome) \(age) ago: \(canary.detail)", canary.outcome == "alarm" ? .bad : .good)
        }
        let waiting = self.waiting.flatMap { $0 > 0 ? ", \($0) waiting" : nil } ?? ""
        facts.add("Workloads", "\(self.workloads) enrolled\(waiting)", waiting.isEmpty ? .plain : .warning)
        facts.addConfiguration(pending: self.pendingRestart, problems: self.configurationProblems)
        for problem in self.enrolmentProblems ?? [] { facts.add("Enrolment file", problem, .bad) }
        facts.add("Services", "\(self.services) known")
        facts.add("Connections", "\(self.connectionsOpen) open on \(self.loops) \(self.loops == 1 ? "loop" : "loops")")
        if let handOver = self.handOver {
            facts.add("Hand-over", handOver.text(at: now), handOver.dropped.isEmpty ? .plain : .warning)
        }
        if let refusals = self.refusals {
            let total = refusals.values.reduce(0, +)
            let which = refusals.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
            facts.add(
                "Refusals", total == 0 ? "none" : "\(total): \(which); 'nodemeshctl events' shows the latest",
                total == 0 ? .plain : .warning)
        }
        let decisions = self.steering.filter { isWide || $0.value > 0 }.sorted { $0.key < $1.key }
        let counts = decisions.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
        facts.add("Steering", counts.isEmpty ? "no decisions yet" : counts)
        for map in self.maps where isWide || map.isTight {
            let capacity = map.capacity > 0 ? "\(map.capacity)" : "no limit"
            let entries = map.entries.map { "\($0) of \(capacity)" } ?? "capacity \(capacity)"
            facts.add("Map \(map.name)", entries, map.isTight ? .warning : .plain)
        }
        return facts
    }
}

extension HandOverStatus {
    fileprivate func text(at now: Date) -> String {
        let kind =
            switch self.kind {
            case "restart": "by restart"
            case "take_over": "by take-over"
            default: "after a crash"
            }
        let lost = (self.drained.merging(self.dropped, uniquingKeysWith: +)).sorted { $0.key < $1.key }
            .map { ", \($0.value) not (\($0.key))" }.joined()
        return "\(kind) from \(self.fromVersion) \(Human.duration(now.timeIntervalSince(self.at))) ago:"
            + " \(self.carried) connections, \(self.tunnels) tunnels, \(self.listeners) listeners in"
            + " \(Int(self.milliseconds.rounded())) ms\(lost)"
    }
}

extension Facts {
    /// What reloads left undone.
    fileprivate mutating func addConfiguration(pending: [String]?, problems: [String]?) {
        if let pending, !pending.isEmpty {
            self.add(
                "Restart needed", "for \(pending.joined(separator: ", ")); see 'nodemeshctl config show'", .warning)
        }
        for problem in problems ?? [] { self.add("Not reloaded", problem, .bad) }
    }
}

extension NodeStatus.Map {
    /// Three quarters full. The smallest maps are arrays, which always are.
    fileprivate var isTight: Bool { self.capacity >= 64 && (self.entries ?? 0) >= self.capacity / 4 * 3 }
}

extension ControlStatus {
    func facts(at now: Date, address: String) -> Facts {
        var facts = Facts()
        facts.add("Control plane", address.replacing("the control plane at ", with: ""))
        facts.add("Version", "\(self.version), up \(Human.duration(now.timeIntervalSince(self.startedAt)))")
        facts.add("Trust domain", self.trustDomain)
        facts.add("CA fingerprint", self.caFingerprint)
        if let phase = self.caRotation {
            facts.add("CA rotation", "\(phase); 'nodemeshctl ca status' shows what it waits for", .warning)
        }
        if let problem = self.problem { facts.add("Alarm", problem, .bad) }
        facts.add("CA expires", Human.relative(self.caExpiresAt, to: now), self.caExpiresAt <= now ? .bad : .plain)
        facts.add(
            "Nodes", "\(self.nodesAlive) of \(self.nodes) alive", self.nodesAlive < self.nodes ? .warning : .plain)
        facts.add("Workloads", "\(self.workloads)")
        facts.add("Services", "\(self.services)")
        facts.add("Policies", "\(self.policies)")
        facts.addConfiguration(pending: self.pendingRestart, problems: self.configurationProblems)
        return facts
    }
}

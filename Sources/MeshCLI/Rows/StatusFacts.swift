// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI

extension NodeStatus {
    func facts(at now: Date) -> Facts {
        var facts = Facts()
        facts.add("Node", self.node)
        facts.add("Ready", self.isReady ? "yes" : "no", self.isReady ? .good : .bad)
        facts.add("Version", "\(self.version), up \(Human.duration(now.timeIntervalSince(self.startedAt)))")
        facts.add("Trust domain", self.trustDomain)
        facts.add("Mesh prefixes", self.meshPrefixes.joined(separator: ", "))
        let view = self.controlPlane.viewAgeSeconds.map { "view confirmed \(Human.duration($0)) ago" } ?? "no view yet"
        facts.add(
            "Control plane",
            "\(self.controlPlane.address), \(self.controlPlane.isConnected ? "connected" : "not connected"), \(view)",
            self.controlPlane.isConnected ? .good : .bad)
        if let error = self.controlPlane.lastError { facts.add("Last error", error, .warning) }
        if let certificate = self.certificate {
            let text =
                "\(certificate.identity), \(certificate.state), expires \(Human.relative(certificate.notAfter, to: now))"
            facts.add("Certificate", text, certificate.notAfter <= now ? .bad : .plain)
        } else {
            facts.add("Certificate", "none", .bad)
        }
        facts.add("Fail mode", self.failMode, self.failMode == "closed" ? .plain : .warning)
        facts.add("Workloads", "\(self.workloads) enrolled")
        facts.add("Services", "\(self.services) known")
        facts.add("Connections", "\(self.connectionsOpen) open on \(self.loops) \(self.loops == 1 ? "loop" : "loops")")
        let decisions = self.steering.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
        facts.add("Steering", decisions.isEmpty ? "no decisions yet" : decisions.joined(separator: ", "))
        for map in self.maps {
            let entries = map.entries.map { "\($0) of \(map.capacity)" } ?? "capacity \(map.capacity)"
            let isTight = (map.entries ?? 0) * 10 >= map.capacity * 9 && map.capacity > 1
            facts.add("Map \(map.name)", entries, isTight ? .warning : .plain)
        }
        return facts
    }
}

extension ControlStatus {
    func facts(at now: Date, address: String) -> Facts {
        var facts = Facts()
        facts.add("Control plane", address.replacing("the control plane at ", with: ""))
        facts.add("Version", "\(self.version), up \(Human.duration(now.timeIntervalSince(self.startedAt)))")
        facts.add("Trust domain", self.trustDomain)
        facts.add("CA fingerprint", self.caFingerprint)
        facts.add("CA expires", Human.relative(self.caExpiresAt, to: now), self.caExpiresAt <= now ? .bad : .plain)
        facts.add(
            "Nodes", "\(self.nodesAlive) of \(self.nodes) alive", self.nodesAlive < self.nodes ? .warning : .plain)
        facts.add("Workloads", "\(self.workloads)")
        facts.add("Services", "\(self.services)")
        facts.add("Policies", "\(self.policies)")
        return facts
    }
}

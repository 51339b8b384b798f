// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import MeshModel

/// The side of the source.
extension Explainer {
    private static let maximumEndpoints = 32

    /// - Parameter hook: what the kernel does with it; nil: not known.
    func leave(
        _ source: Workload, to destination: SocketAddress, by hook: NodeFacts.Hook?, _ answer: inout Explanation
    ) {
        var direct: [SocketAddress]?
        if let hook {
            let prefix = self.snapshot.settings.prefixes.first { $0.contains(destination.ip) }
            let what =
                prefix.map { "connects to \(destination), inside mesh prefix \($0)," } ?? "connects to \(destination)"
            guard self.passes(hook, answer: &answer, what: what) else { return }
            if case .direct(let servers, let isShared) = hook.steered {
                direct = servers
                let text = servers.map(\.description).joined(separator: ", ")
                answer.add(
                    "capture", Wire.direct.rawValue,
                    "a verdict that the proxy left in the kernel leads \(isShared ? "some of them " : "")straight to \(text)"
                )
            }
        } else if !self.isCaptured(source, destination, &answer) {
            return
        }
        if let problem = self.facts?.problem { answer.notes.append(problem) }
        guard self.admits(source, &answer) else { return }
        self.follow(source, to: destination, direct: direct, &answer)
    }

    /// What the kernel does comes before everything else.
    ///
    /// - Returns: whether a proxy's or a verdict's part follows.
    func passes(_ hook: NodeFacts.Hook, answer: inout Explanation, what: String) -> Bool {
        if !hook.missing.isEmpty {
            answer.add(
                "capture", "missing",
                "nodemesh's program does not run at \(hook.missing.joined(separator: ", ")): something took it away; "
                    + "'nodemeshctl bpf status' shows what is attached")
        }
        switch hook.steered {
        case .leftAlone:
            answer.leave("capture", hook.reason, "\(what) are left alone: \(Self.text(hook))")
            return false
        case .refused:
            answer.refuse("capture", hook.reason, "\(what) are refused by the kernel: \(Self.text(hook))")
            return false
        case .direct:
            return true
        case .captured:
            if !hook.hasListener {
                answer.refuse(
                    "capture", hook.reason, "\(what) are captured, but nobody listens for this workload: refused")
                return false
            }
            answer.add("capture", "captured", "\(what) go to the proxy")
            return true
        }
    }

    private static func text(_ hook: NodeFacts.Hook) -> String {
        switch hook.reason {
        case nil: "outside the mesh prefixes, or the workload's own loopback"
        case "self_bypassed": "the workload's own address"
        case "outbound_excluded", "inbound_excluded":
            "excluded for this workload or this node, or nothing that a mesh can carry; it is clear text"
        case "outbound_failed_open", "inbound_failed_open":
            "no proxy listens, and the fail mode is open; it is clear text"
        case "inbound_refused": "no proxy listens, and the fail mode is closed"
        case "inbound_unowned": "no enrolled workload listens on the port"
        case "inactive_refused": "the workload is not, or no longer, enrolled"
        case "capture_port_refused": "the port is the proxy's own"
        case "ipv6_refused": "the proxy listens on IPv4 only there"
        case "dns_captured": "nodemeshd answers what is asked of any resolver"
        case "dns_failed_open", "dns_left": "a query that nodemeshd does not answer: it goes to the resolver"
        case "program_missing": "the program that would capture them is not attached"
        case .some(let word): word
        }
    }

    /// As a node would, from what it is told; only its own state is not known.
    private func isCaptured(
        _ source: Workload, _ destination: SocketAddress, _ answer: inout Explanation
    ) -> Bool {
        guard source.tunnel == .tunnel else {
            answer.leave("capture", nil, "workload \(source.id) is outside the mesh: its connects are plain TCP")
            return false
        }
        // Behind an address that the workload shares there may be another one.
        let isOwn =
            source.addresses.contains(destination.ip)
            && (!source.isHostNetwork || [nil, source.id].contains(self.snapshot.workload(at: destination)?.id))
        guard self.snapshot.isInsideMesh(destination.ip), !isOwn else {
            let prefixes = self.snapshot.settings.prefixes.map(\.description).joined(separator: ", ")
            answer.leave(
                "capture", isOwn ? "self_bypassed" : nil,
                isOwn
                    ? "the workload's own address: the connection does not leave it"
                    : "outside the mesh prefixes \(prefixes); the connection is left alone")
            return false
        }
        answer.add("capture", "captured", "inside the mesh prefixes, dialled by workload \(source.id)")
        answer.notes.append(
            "From what the control plane tells node \(source.node); exclusions, certificates, ejections and the kernel's "
                + "state are known there only.")
        return true
    }

    /// The workload's own limits.
    private func admits(_ workload: Workload, _ answer: inout Explanation) -> Bool {
        guard let limits = workload.limits else { return true }
        let figures = limits.figures
        guard !figures.isEmpty else { return true }
        let open = self.facts?.connections(workload.id)
        let now = open.map { "; \($0) open now" } ?? ""
        let text = figures.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
        if let open, let maximum = limits.maxConnections, open >= Int(maximum) {
            answer.refuse("limits", .limitExceeded, "workload \(workload.id): \(text)\(now)")
            return false
        }
        answer.add("limits", "applies", "workload \(workload.id): \(text)\(now)")
        return true
    }

    // MARK: - Where to

    private func follow(
        _ source: Workload, to destination: SocketAddress, direct: [SocketAddress]?, _ answer: inout Explanation
    ) {
        var chosenSet: EndpointSet?
        let result = self.snapshot.resolve(destination) { set in
            chosenSet = set
            return self.preferred(set, direct)
        }
        if let service = self.snapshot.service(at: destination.ip) {
            self.describe(service, chosenSet, &answer)
        }
        switch result {
        case .failure(let failure):
            if failure.isUnknown, self.facts?.passesUnknown == true {
                answer.add(
                    "service", "passthrough", "nothing has this address; passed on as plain TCP by configuration")
                answer.verdict = "allowed"
                return
            }
            answer.refuse("service", failure.reason, failure.description)
        case .success(let route):
            if let service = route.service, !self.admits(service, &answer) { return }
            self.follow(source, route, dialled: destination, isDirect: direct != nil, &answer)
        }
    }

    /// One of those from which the proxy, or the kernel's verdict, would choose.
    private func preferred(_ set: EndpointSet, _ direct: [SocketAddress]?) -> Int? {
        if let direct, let index = set.endpoints.firstIndex(where: { direct.contains($0.address) }) { return index }
        let usable = set.groups.lazy.compactMap { group in group.first { self.ejection(set, $0) == nil } }.first
        return usable ?? set.endpoints.indices.first
    }

    private func ejection(_ set: EndpointSet, _ index: Int) -> NodeFacts.Ejection? {
        self.facts?.ejections.first {
            $0.service == set.service && $0.port == set.port && $0.address == set.endpoints[index].address
        }
    }

    private func describe(_ service: Service, _ set: EndpointSet?, _ answer: inout Explanation) {
        let all = self.snapshot.workloads(backing: service.id)
        let usable = set?.endpoints.count ?? 0
        answer.add(
            "service", "resolved",
            "service \(service.id), \(service.hostname): \(usable) of \(all.count) endpoints can be used")
        let figures = service.trafficFigures.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
        if !figures.isEmpty { answer.add("traffic", "applies", figures.joined(separator: ", ")) }
        guard let set else { return }
        var shown = 0
        for (number, group) in set.groups.enumerated() {
            for index in group where shown < Self.maximumEndpoints {
                shown += 1
                let endpoint = set.endpoints[index]
                let ejection = self.ejection(set, index)
                var text = "\(endpoint.workload.id) at \(endpoint.address) on node \(endpoint.workload.node)"
                text += ", weight \(set.weight(of: index)) of \(set.totalWeight(of: group))"
                if set.groups.count > 1 { text += number == 0 ? ", preferred" : ", when no better one is left" }
                if let ejection {
                    text +=
                        ": connections failed; used only if no other endpoint is left for \(ejection.secondsLeft) s more"
                }
                answer.add("endpoint", ejection == nil ? "healthy" : "ejected", text)
            }
        }
        let known = Set(set.endpoints.map(\.workload.id))
        for workload in all where !known.contains(workload.id) && shown < Self.maximumEndpoints {
            shown += 1
            let text =
                workload.isHealthy
                ? "has no such port, lies elsewhere than the service allows, or its node is not known"
                : "its node is silent, or it is being taken down"
            answer.add("endpoint", workload.isHealthy ? "unusable" : "unhealthy", "\(workload.id): \(text)")
        }
        let left = all.count - shown
        if left > 0 { answer.add("endpoint", "more", "\(left) further ones are not shown") }
    }

    /// What one node may have open to a service.
    private func admits(_ service: NamespacedName, _ answer: inout Explanation) -> Bool {
        guard let policy = self.snapshot.service(service)?.policy, let usage = self.facts?.usage[service] else {
            return true
        }
        let text = "service \(service): \(usage.open) connections of this node are open, \(usage.pending) being made"
        if let maximum = policy.maxConnections, usage.open >= Int(maximum) {
            answer.refuse("limits", .limitExceeded, "\(text); maxConnections is \(maximum)")
            return false
        }
        if let maximum = policy.maxPending, usage.pending >= Int(maximum) {
            answer.refuse("limits", .limitExceeded, "\(text); maxPending is \(maximum)")
            return false
        }
        if policy.maxConnections != nil || policy.maxPending != nil { answer.add("limits", "applies", text) }
        return true
    }

    // MARK: - How

    private func follow(
        _ source: Workload, _ route: Route, dialled: SocketAddress, isDirect: Bool, _ answer: inout Explanation
    ) {
        guard let workload = route.workload else {
            answer.verdict = "allowed"
            return
        }
        answer.add(
            "endpoint", "chosen",
            (route.service == nil ? "the workload that has this address: " : "for example: ")
                + "\(workload.id) at \(route.address)" + (workload.node.isEmpty ? "" : " on node \(workload.node)"))
        switch route.path {
        case .plain:
            answer.add("wire", Wire.plaintext.rawValue, "outside the mesh: plain TCP, no identity")
            answer.verdict = "allowed"
        case .local:
            answer.add(
                "wire", isDirect ? Wire.direct.rawValue : Wire.local.rawValue,
                isDirect
                    ? "on this node, past the proxy: plain TCP between the two, under the policies below"
                    : "on this node: the bytes do not leave it")
            self.judge(source, workload, at: route.address, dialled: dialled, by: .local, &answer)
            if answer.verdict == "allowed", !isDirect, let text = self.facts?.directPath(source.id, dialled) {
                answer.add("wire", "next", text)
            }
        case .tunnel(let node):
            let address = self.snapshot.tunnelAddress(of: node).map { SocketAddress(ip: $0, port: node.tunnelPort) }
            answer.add(
                "wire", Wire.splice.rawValue,
                "mutual TLS 1.3 to node \(node.name) at \(address?.description ?? "-"), since the endpoint runs there")
            guard self.hasCertificate(of: source, &answer) else { return }
            guard workload.identity != nil, address != nil else {
                answer.refuse(
                    "wire", .noHealthyEndpoint, "the endpoint's node has no address or no valid identity")
                return
            }
            self.judge(source, workload, at: route.address, dialled: dialled, by: .tunnel, &answer)
        }
    }

    private func hasCertificate(of source: Workload, _ answer: inout Explanation) -> Bool {
        guard let facts = self.facts else { return true }
        guard let identity = source.identity else {
            answer.refuse("certificate", .identityUnavailable, "the names of workload \(source.id) form no identity")
            return false
        }
        let certificate = facts.certificate(identity)
        let error = certificate.lastError.map { "; the last try failed: \($0)" } ?? ""
        guard certificate.isHeld else {
            answer.refuse(
                "certificate", .identityUnavailable, "no valid certificate for \(identity) here yet\(error)")
            return false
        }
        let until = certificate.notAfter.map { ", valid until \($0.formatted(.iso8601))" } ?? ""
        answer.add("certificate", "valid", "\(identity) here\(until)\(error)")
        return true
    }
}

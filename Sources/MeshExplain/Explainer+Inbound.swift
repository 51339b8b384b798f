// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import MeshModel
import MeshResources

/// The side of the destination, where policies are enforced.
extension Explainer {
    enum Arrival { case local, tunnel, plaintext }

    /// - Parameters:
    ///   - source: nil: somebody outside the mesh, at `client`.
    ///   - dialled: as the source's application did.
    func judge(
        _ source: Workload?, _ workload: Workload, at address: SocketAddress, dialled: SocketAddress? = nil,
        client: IPAddress? = nil, by arrival: Arrival, _ answer: inout Explanation
    ) {
        let isHere = self.facts != nil && workload.node == self.snapshot.localNode
        if !isHere, self.facts != nil {
            answer.add(
                "inbound", "elsewhere",
                "node \(workload.node) decides; below is what it will by the policies that this node was told of too. What "
                    + "it has loaded: nodemeshctl explain \(answer.source) \(address), there")
        }
        if MeshPorts.isReserved(address.port) {
            answer.refuse("inbound", .selfCall, RouteFailure.selfCall.description)
            return
        }
        if isHere, !self.isReady(workload, address.port, arrival, &answer) { return }
        let input = PolicyInput(
            sourceIdentity: source?.identity,
            sourceIP: client ?? Self.client(source, to: address.ip, dialled: dialled?.ip, by: arrival),
            destination: address)
        let set = self.snapshot.policies(for: workload)
        self.addMutualTLS(workload, set, input, &answer)
        self.addPolicies(set, input, &answer)
        // After the policies: one that is denied does not count.
        if answer.verdict == "allowed", isHere, source?.id != workload.id {
            _ = self.admitsHere(workload, &answer)
        }
    }

    /// What this node has to have loaded for one of its workloads.
    private func isReady(
        _ workload: Workload, _ port: UInt16, _ arrival: Arrival, _ answer: inout Explanation
    ) -> Bool {
        guard let facts = self.facts else { return true }
        guard let hook = facts.inbound(workload.id, port) else {
            answer.refuse("inbound", .workloadGone, "workload \(workload.id) is not enrolled on this node any more")
            return false
        }
        if !hook.missing.isEmpty {
            answer.add(
                "inbound", "missing",
                "nodemesh's program does not run at \(hook.missing.joined(separator: ", ")): plaintext is not caught there"
            )
        }
        if workload.isHostNetwork, hook.owner != workload.id {
            answer.refuse("inbound", .connectRefused, "workload \(workload.id) does not listen on port \(port)")
            return false
        }
        guard arrival == .tunnel, let identity = workload.identity else { return true }
        let certificate = facts.certificate(identity)
        guard certificate.isHeld else {
            answer.refuse(
                "certificate", .tlsFailed,
                "no valid certificate for \(identity) here, so its tunnels cannot be accepted"
                    + (certificate.lastError.map { "; the last try failed: \($0)" } ?? ""))
            return false
        }
        let until = certificate.notAfter.map { ", valid until \($0.formatted(.iso8601))" } ?? ""
        answer.add("certificate", "valid", "\(identity) here\(until)")
        return true
    }

    private func admitsHere(_ workload: Workload, _ answer: inout Explanation) -> Bool {
        guard let limits = workload.limits, !limits.figures.isEmpty else { return true }
        let text = limits.figures.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
        let open = self.facts?.connections(workload.id)
        let now = open.map { "; \($0) open now" } ?? ""
        if let open, let maximum = limits.maxConnections, open >= Int(maximum) {
            answer.refuse("limits", .limitExceeded, "workload \(workload.id): \(text)\(now)")
            return false
        }
        answer.add("limits", "applies", "workload \(workload.id): \(text)\(now)")
        return true
    }

    /// The address that the policies see: on its own node as the application dialled, from another node in the
    /// endpoint's family where the client has one.
    private static func client(
        _ source: Workload?, to endpoint: IPAddress, dialled: IPAddress?, by arrival: Arrival
    ) -> IPAddress {
        let own = source?.addresses ?? []
        let first = own.first { $0.isIPv4 == (dialled ?? endpoint).isIPv4 } ?? own.first
        guard arrival == .tunnel else { return first ?? endpoint }
        return own.first { $0.isIPv4 == endpoint.isIPv4 } ?? first ?? endpoint
    }

    /// Which plaintext the port takes, and who says so.
    private func addMutualTLS(
        _ workload: Workload, _ set: PolicySet, _ input: PolicyInput, _ answer: inout Explanation
    ) {
        let converted = PolicySet(set.denying.filter(\.isPeerAuthentication))
        let plaintext = PolicyInput(
            sourceIdentity: nil, sourceIP: input.sourceIP, destination: input.destination)
        let isStrict = !converted.decide(plaintext).isAllowed
        let origin =
            workload.peerAuthentication.map { "by PeerAuthentication \($0)" }
            ?? (converted.isEmpty ? "no PeerAuthentication says otherwise" : "by a PeerAuthentication")
        answer.add(
            "mtls", isStrict ? "STRICT" : "PERMISSIVE",
            "\(origin): port \(input.destination.port) \(isStrict ? "takes tunnels only" : "takes tunnels and plaintext")"
        )
    }

    private func addPolicies(_ set: PolicySet, _ input: PolicyInput, _ answer: inout Explanation) {
        let trace = set.trace(input)
        for name in trace.unknown {
            answer.add("policy", "unknown", "\(name): named by the workload, not known here: denies")
        }
        let outcomes = Dictionary(trace.decision.dryRun.map { ($0.policy.description, $0) }, uniquingKeysWith: { $1 })
        for check in PolicyCheck.all(trace, of: set, asked: input) {
            let matched = check.matchedRule != nil ? "matched" : "notMatched"
            var text = check.summary
            if check.isDryRun, let outcome = outcomes[check.policy] {
                text += "; enforced, it would be \(outcome.wouldAllow ? "allowed" : "denied")"
            }
            answer.steps.append(
                .init(
                    stage: "policy", outcome: check.isDryRun ? "dryRun-\(matched)" : matched, detail: text,
                    check: check))
        }
        let decision = trace.decision
        answer.policy = decision.policy?.description
        answer.rule = decision.rule
        answer.verdict = decision.isAllowed ? "allowed" : "denied"
        answer.reason = decision.isAllowed ? nil : CloseReason.policyDenied.rawValue
        answer.add("policy", answer.verdict, decision.text)
    }
}

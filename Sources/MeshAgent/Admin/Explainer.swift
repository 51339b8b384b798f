// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshConfiguration
import MeshModel
import MeshProxy
import MeshSteering

/// Says what would happen to a connection, step by step, from the state that the data plane itself uses.
package struct Explainer {
    private let snapshot: MeshSnapshot
    private let unknownDestination: AgentConfiguration.UnknownDestination
    /// Whether this node holds a valid certificate for a local identity.
    private let hasCertificate: (SPIFFEID) -> Bool
    /// Whether a workload is enrolled on this node.
    private let isEnrolled: (WorkloadID) -> Bool
    /// Whether connections of a workload to an address are never captured.
    private let isExcluded: (WorkloadID, SocketAddress) -> Bool
    /// Endpoints that the data plane has set aside.
    private let ejections: [EndpointEjection]
    /// What decides about the direct path.
    private let planner: DirectPlanner?

    package init(
        snapshot: MeshSnapshot, unknownDestination: AgentConfiguration.UnknownDestination,
        hasCertificate: @escaping (SPIFFEID) -> Bool, isEnrolled: @escaping (WorkloadID) -> Bool,
        isExcluded: @escaping (WorkloadID, SocketAddress) -> Bool = { _, _ in false },
        ejections: [EndpointEjection] = [], planner: DirectPlanner? = nil
    ) {
        self.planner = planner
        self.snapshot = snapshot
        self.unknownDestination = unknownDestination
        self.hasCertificate = hasCertificate
        self.isEnrolled = isEnrolled
        self.isExcluded = isExcluded
        self.ejections = ejections
    }

    /// - Throws: ``ErrorResponse`` when the source or the destination cannot be understood.
    package func explain(source: String, destination: String) throws(ErrorResponse) -> Explanation {
        guard let id = WorkloadID(source) else {
            throw ErrorResponse(error: "source '\(source)' is not NAMESPACE/NAME of a workload")
        }
        guard let workload = self.snapshot.workload(id) else {
            throw ErrorResponse(
                error: "this node knows no workload \(id); 'nodemeshctl workload list' shows those that it runs")
        }
        let address = try self.resolve(destination, from: id)
        var answer = Explanation(
            source: id.description, destination: address.description, steps: [], verdict: "refused", reason: nil,
            policy: nil, rule: nil)
        self.follow(workload, to: address, &answer)
        return answer
    }

    /// `IP:PORT`, or a service's host name, `name.namespace` or, in the source's own namespace, `name`, and a port.
    private func resolve(_ text: String, from source: WorkloadID) throws(ErrorResponse) -> SocketAddress {
        if let address = SocketAddress(text) { return address }
        guard let hostPort = HostPort(text) else {
            throw ErrorResponse(error: "destination '\(text)' is not IP:PORT or SERVICE:PORT")
        }
        let port = hostPort.port
        let labels = hostPort.host.split(separator: ".", omittingEmptySubsequences: false)
        let service =
            switch labels.count {
            case 1: self.snapshot.service(NamespacedName(namespace: source.namespace, name: hostPort.host))
            case 2: self.snapshot.service(NamespacedName(namespace: String(labels[1]), name: String(labels[0])))
            default: self.snapshot.service(hostname: hostPort.host)
            }
        guard let service else {
            throw ErrorResponse(
                error: "no service is called '\(hostPort.host)'; 'nodemeshctl service list' shows those that there are")
        }
        // As a resolver would answer: IPv4 first, unless the workload has none.
        let hasIPv4 = self.snapshot.workload(source)?.addresses.contains(where: \.isIPv4) ?? true
        let preferred = service.addresses.first { $0.isIPv4 == hasIPv4 }
        guard let address = preferred ?? service.addresses.first else {
            throw ErrorResponse(error: "service \(service.id) has no address: it is headless")
        }
        return SocketAddress(ip: address, port: port)
    }

    private func follow(_ source: Workload, to destination: SocketAddress, _ answer: inout Explanation) {
        guard self.isEnrolled(source.id) else {
            answer.add(
                "capture", "notCaptured",
                "workload \(source.id) is not enrolled on this node; ask its own node"
                    + (source.node.isEmpty ? "" : ", \(source.node)"))
            answer.verdict = "notCaptured"
            return
        }
        // Behind an address that the workload shares there may be another one.
        let own =
            source.addresses.contains(destination.ip)
            && (!source.isHostNetwork || [nil, source.id].contains(self.snapshot.workload(at: destination)?.id))
        guard self.snapshot.isInsideMesh(destination.ip), !own else {
            answer.add(
                "capture", "notCaptured",
                own
                    ? "the workload's own address: the connection does not leave it"
                    : "outside the mesh prefixes \(self.snapshot.settings.prefixes.map(\.description).joined(separator: ", ")); the connection is left alone"
            )
            answer.verdict = "notCaptured"
            return
        }
        guard !self.isExcluded(source.id, destination) else {
            answer.add(
                "capture", "notCaptured",
                "excluded for this workload or this node: it goes past the mesh, in clear text")
            answer.verdict = "notCaptured"
            return
        }
        answer.add("capture", "captured", "inside the mesh prefixes, dialled by an enrolled workload")
        answer.add("limits", "applies", source.limits?.figures ?? [:])
        switch self.snapshot.route(to: destination, pick: { _ in 0 }) {
        case .failure(let failure):
            if failure.isUnknown, self.unknownDestination == .passthrough {
                answer.add(
                    "service", "passthrough", "nothing has this address; passed on as plain TCP by configuration")
                answer.verdict = "allowed"
                return
            }
            answer.add("service", "refused", failure.description)
            answer.reason = failure.reason.rawValue
        case .success(let route):
            self.follow(source, route, &answer)
            if case .local = route.path { self.addDirect(source, destination, &answer) }
        }
    }

    private func follow(_ source: Workload, _ route: Route, _ answer: inout Explanation) {
        if let service = route.service {
            let all = self.snapshot.workloads(backing: service)
            let healthy = all.filter(\.isHealthy).count
            answer.add("service", "resolved", "service \(service): \(healthy) of \(all.count) endpoints healthy")
            for ejection in self.ejections where ejection.service == service {
                answer.add(
                    "service", "ejected",
                    "\(ejection.workload) at \(ejection.address): connections failed; used only if no other endpoint"
                        + " is left for \(ejection.secondsLeft) s more")
            }
            answer.add("traffic", "applies", self.snapshot.service(service)?.trafficFigures ?? [:])
        }
        guard let workload = route.workload else {
            answer.add("endpoint", "resolved", "\(route.address)")
            answer.verdict = "allowed"
            return
        }
        let choice = route.service == nil ? "the workload that has this address" : "for example"
        answer.add(
            "endpoint", "resolved",
            "\(choice): \(workload.id) at \(route.address)"
                + (workload.node.isEmpty ? "" : " on node \(workload.node)"))
        switch route.path {
        case .plain:
            answer.add("wire", Wire.plaintext.rawValue, "outside the mesh: plain TCP, no identity")
            answer.verdict = "allowed"
            return
        case .local:
            answer.add("wire", Wire.local.rawValue, "on this node: the bytes do not leave it")
        case .tunnel(let node):
            answer.add(
                "wire", Wire.splice.rawValue,
                "mutual TLS 1.3 to node \(node.name) at \(node.addresses.map(\.description).joined(separator: ", ")):\(node.tunnelPort)"
            )
            guard let identity = source.identity, self.hasCertificate(identity) else {
                answer.add(
                    "certificate", "refused", "no valid certificate for \(source.identity?.description ?? "-") yet")
                answer.reason = CloseReason.identityUnavailable.rawValue
                return
            }
            answer.add(
                "certificate", "valid",
                "\(identity) here, \(workload.identity?.description ?? "-") expected there")
        }
        self.judge(source, workload, at: route.address, &answer)
    }

    /// Whether the first connection opens the direct path for the next ones.
    private func addDirect(_ source: Workload, _ destination: SocketAddress, _ answer: inout Explanation) {
        guard let planner = self.planner, answer.verdict == "allowed" else { return }
        do throws(DirectPlanner.Refusal) {
            let targets = try planner.targets(from: source.id, to: destination)
            let share = targets.reduce(UInt64(0)) { $0 + UInt64($1.share) } * 100 / UInt64(DirectVerdict.shares)
            answer.add(
                "wire", Wire.direct.rawValue,
                "after the first connection, \(share) % of them go past the proxy, straight to "
                    + targets.map(\.address.description).joined(separator: ", "))
        } catch {
            answer.add("wire", "notDirect", "every connection goes through the proxy: \(error)")
        }
    }

    private func judge(
        _ source: Workload, _ workload: Workload, at address: SocketAddress, _ answer: inout Explanation
    ) {
        let client = source.addresses.first { $0.isIPv4 == address.ip.isIPv4 } ?? source.addresses.first
        let trace = self.snapshot.trace(
            PolicyInput(sourceIdentity: source.identity, sourceIP: client ?? address.ip, destination: address),
            for: workload)
        for name in trace.unknown {
            answer.add("policy", "unknown", "\(name): named by the workload, not known here: denies")
        }
        for policy in trace.policies {
            answer.add("policy", Self.outcome(of: policy), Self.describe(policy))
        }
        let decision = trace.decision
        answer.policy = decision.policy?.description
        answer.rule = decision.rule
        answer.verdict = decision.isAllowed ? "allowed" : "denied"
        answer.reason = decision.isAllowed ? nil : CloseReason.policyDenied.rawValue
        answer.add("policy", answer.verdict, Self.describe(decision))
    }

    private static func outcome(of policy: PolicyTrace.Policy) -> String {
        let matched = policy.matchedRule != nil ? "matched" : "notMatched"
        return policy.isDryRun ? "dryRun-\(matched)" : matched
    }

    private static func describe(_ policy: PolicyTrace.Policy) -> String {
        var text = "\(policy.action.rawValue.uppercased()) \(policy.id)"
        if let rule = policy.matchedRule { return text + ": rule \(rule) matches" }
        if policy.rules.isEmpty { return text + ": has no rules, so nothing matches" }
        for (index, rule) in policy.rules.enumerated() where !rule.isMatched {
            let failed = rule.clauses.filter { !$0.isMatched }.flatMap(\.failures).compactMap { $0?.rawValue }
            text += ": rule \(index) fails on \(Set(failed).sorted().joined(separator: ", "))"
        }
        return text
    }

    private static func describe(_ decision: PolicyDecision) -> String {
        switch decision.reason {
        case .noPolicies: "no policy denies it and no ALLOW policy applies"
        case .matchedAllow: "allowed by \(decision.policy?.description ?? "-")"
        case .matchedDeny: "denied by \(decision.policy?.description ?? "-")"
        case .noAllowMatched: "ALLOW policies apply and none of them matches"
        case .unknownPolicy: "policy \(decision.policy?.description ?? "-") is not known on this node yet"
        }
    }
}

extension Explanation {
    fileprivate mutating func add(_ stage: String, _ outcome: String, _ detail: String) {
        self.steps.append(Step(stage: stage, outcome: outcome, detail: detail))
    }

    /// What is declared; nothing when nothing is.
    fileprivate mutating func add(_ stage: String, _ outcome: String, _ figures: [String: String]) {
        if figures.isEmpty { return }
        let texts = figures.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
        self.add(stage, outcome, texts.joined(separator: ", "))
    }
}

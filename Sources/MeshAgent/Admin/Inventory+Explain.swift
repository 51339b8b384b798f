// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshConfiguration
import MeshExplain
import MeshModel
import MeshProxy
import MeshSteering

extension Inventory {
    func explain(source: String, destination: String) async throws(ExplainError) -> Explanation {
        guard let snapshot = await self.views.snapshot else {
            throw ExplainError(.notFound, "this node has no view of the mesh yet: it waits for its control plane")
        }
        let facts = await self.facts(snapshot)
        let answer = try Explainer(snapshot: snapshot, facts: facts).explain(source: source, destination: destination)
        // What the kernel refuses never reaches the proxy, which asks how old the view is.
        guard answer.steps.contains(where: { $0.stage != "capture" }) else { return answer }
        return answer.judged(staleness: self.freshness.staleness, age: self.freshness.age)
    }

    private func facts(_ snapshot: MeshSnapshot) async -> NodeFacts {
        let (steering, proxy) = (self.steering, self.proxy)
        let entries = await self.registry.all
        let keys = Dictionary(entries.map { ($0.id, $0.key) }, uniquingKeysWith: { $1 })
        let names = Dictionary(entries.map { ($0.key, $0.id) }, uniquingKeysWith: { $1 })
        let held = await self.views.heldCertificates
        let certificates = Dictionary(
            self.certificateManager.summaries(node: self.settings.node).map { ($0.identity, $0) },
            uniquingKeysWith: { $1 })
        let planner = await self.direct.planner
        let problem = await self.problem()
        return NodeFacts(
            outbound: { id, destination in
                keys[id].flatMap { NodeFacts.Hook(steering, outbound: $0, to: destination) }
            },
            inbound: { id, port in keys[id].flatMap { NodeFacts.Hook(steering, inbound: $0, port: port, names) } },
            certificate: { identity in
                let known = certificates[identity.description]
                return .init(
                    isHeld: held.contains(identity), notAfter: held.contains(identity) ? known?.notAfter : nil,
                    lastError: known?.lastError)
            },
            ejections: proxy.ejections.map {
                .init(service: $0.service, port: $0.port, address: $0.address, secondsLeft: $0.secondsLeft)
            },
            usage: proxy.serviceUsage.mapValues { ($0.open, $0.pending) },
            connections: { proxy.openConnections(of: $0) },
            passesUnknown: self.settings.unknownDestination == .passthrough,
            directPath: { planner?.text(from: $0, to: $1) },
            problem: problem.map { "This node is not ready: \($0)." })
    }
}

extension NodeFacts.Hook {
    /// The word for a hook at which nodemesh's program does not run.
    private static let programMissing = "program_missing"

    /// - Returns: nil when the kernel cannot be asked, or knows no such workload any more.
    init?(_ steering: Steering, outbound key: UInt32, to destination: SocketAddress) {
        guard let course = try? steering.course(of: key, to: destination) else { return nil }
        // What steers inbound connections is the other end's concern.
        let missing = steering.missingPrograms(of: key).map(\.hook).filter { $0 != "sk_lookup" }
        var steered: NodeFacts.Steered =
            switch course.reason {
            case nil: .leftAlone
            case .direct: .direct(course.targets, isShared: course.isShared)
            case .some(let reason): reason.steered
            }
        var reason = course.reason?.name
        if missing.contains(destination.ip.isIPv4 ? "cgroup/connect4" : "cgroup/connect6") {
            (steered, reason) = (.leftAlone, Self.programMissing)
        }
        self.init(
            steered: steered, reason: reason, missing: missing, hasListener: course.hasListener,
            failsOpen: course.failsOpen)
    }

    init?(_ steering: Steering, inbound key: UInt32, port: UInt16, _ names: [UInt32: WorkloadID]) {
        guard let course = try? steering.inboundCourse(of: key, port: port) else { return nil }
        let isAttached = steering.isInboundAttached(key)
        self.init(
            steered: isAttached ? course.reason.steered : .leftAlone,
            reason: isAttached ? course.reason.name : Self.programMissing,
            missing: isAttached ? [] : ["sk_lookup"], hasListener: course.hasListener, failsOpen: course.failsOpen,
            owner: course.owner.flatMap { names[$0] })
    }
}

extension Reason {
    fileprivate var steered: NodeFacts.Steered {
        switch self {
        case .captured, .inboundSteered: .captured
        case .selfBypassed, .outboundExcluded, .outboundFailedOpen, .inboundExcluded, .inboundFailedOpen,
            .inboundUnowned:
            .leftAlone
        default: self.isRefusal ? .refused : .leftAlone
        }
    }
}

extension DirectPlanner {
    /// What becomes of the next connections, after the proxy has carried one.
    fileprivate func text(from source: WorkloadID, to destination: SocketAddress) -> String {
        do throws(Refusal) {
            let targets = try self.targets(from: source, to: destination)
            let share = targets.reduce(UInt64(0)) { $0 + UInt64($1.share) } * 100 / UInt64(DirectVerdict.shares)
            return "after the first connection, \(share) % of them go past the proxy, straight to "
                + targets.map(\.address.description).joined(separator: ", ")
        } catch {
            return "every connection goes through the proxy: \(error)"
        }
    }
}

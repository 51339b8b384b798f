// SPDX-License-Identifier: Apache-2.0

import MeshModel
import MeshProxy
import MeshSteering
import Testing

@testable import MeshAgent

@Suite struct DirectPlannerTests {
    private static func address(_ text: String) -> SocketAddress {
        SocketAddress(text) ?? SocketAddress(ip: IPAddress(ipv4: 0), port: 1)
    }

    private static let service = NamespacedName(namespace: "shop", name: "api")
    private static let ports = [PortMapping(servicePort: 80, targetPort: 8080)]
    private static let dialled = address("240.240.0.1:80")
    private static let source = WorkloadID(namespace: "shop", name: "web")

    /// Clients `web`, endpoints `near`, `near2` (this node) and `far` (another).
    private struct World {
        var isOn = true
        var client: (inout Workload) -> Void = { _ in }
        var near: (inout Workload) -> Void = { _ in }
        var far: (inout Workload) -> Void = { _ in }
        var service: (inout Service) -> Void = { _ in }
        var policies: [AuthorizationPolicy] = []
        var ejected: [String] = []
        var closed: Set<UInt64> = []
        var names = ["near", "far"]

        func planner() -> DirectPlanner {
            func workload(_ name: String, _ number: Int, node: String, backs: Bool) -> Workload {
                Workload(
                    id: WorkloadID(namespace: "shop", name: name),
                    addresses: [address("10.0.0.\(number):1").ip, address("[fd01::\(number)]:1").ip], node: node,
                    serviceAccount: name, trustDomain: "mesh.internal",
                    services: backs ? [DirectPlannerTests.service: ports] : [:])
            }
            var web = workload("web", 2, node: "n1", backs: false)
            self.client(&web)
            var workloads = [web]
            for (index, name) in self.names.enumerated() {
                var endpoint = workload(name, index + 3, node: name.hasPrefix("near") ? "n1" : "n2", backs: true)
                if name.hasPrefix("near") { self.near(&endpoint) } else { self.far(&endpoint) }
                workloads.append(endpoint)
            }
            var service = Service(
                id: DirectPlannerTests.service, addresses: [dialled.ip, address("[fd00:77::1]:1").ip], ports: ports)
            self.service(&service)
            let snapshot = MeshSnapshot(
                settings: MeshSettings(
                    trustDomain: "mesh.internal", prefixes: [], trustBundle: [], rootNamespace: "nodemesh-system"),
                localNode: "n1", workloads: workloads, services: [service],
                nodes: [Node(name: "n2", addresses: [address("10.200.0.2:1").ip], tunnelPort: 15008)],
                policies: self.policies)
            let local = workloads.filter { $0.node == "n1" }
            let ends = local.enumerated().map { index, workload in
                DirectPlanner.End(
                    id: workload.id, key: UInt32(index + 1), namespaceCookie: UInt64(index + 101),
                    addresses: workload.addresses)
            }
            let closed = self.closed
            return DirectPlanner(
                isOn: self.isOn, snapshot: snapshot,
                ends: Dictionary(ends.map { ($0.id, $0) }, uniquingKeysWith: { $1 }),
                ejections: self.ejected.map {
                    EndpointEjection(
                        service: DirectPlannerTests.service, port: 80,
                        workload: WorkloadID(namespace: "shop", name: "near"), address: address($0),
                        nanosecondsLeft: 1, times: 1)
                },
                isReachable: { _, target, _ in !closed.contains(target.namespaceCookie) })
        }

        func shares(of dialled: SocketAddress = DirectPlannerTests.dialled) -> [String] {
            do throws(DirectPlanner.Refusal) {
                return try self.planner().targets(from: source, to: dialled).map { "\($0.address) \($0.share)" }
            } catch {
                return ["\(error)"]
            }
        }

        func refusal(of dialled: SocketAddress = DirectPlannerTests.dialled) -> DirectPlanner.Refusal? {
            do throws(DirectPlanner.Refusal) {
                _ = try self.planner().targets(from: source, to: dialled)
                return nil
            } catch {
                return error
            }
        }
    }

    @Test func remoteEndpointsLeaveTheirShareToTheProxy() {
        #expect(World().shares() == ["10.0.0.3:8080 32768"])
        #expect(World(names: ["near"]).shares() == ["10.0.0.3:8080 65536"])
        #expect(World(names: ["far"]).refusal() == .noTarget)
    }

    @Test func sharesFollowWeights() {
        let world = World(near: { $0.capacity = 3 }, far: { $0.capacity = 2 }, names: ["near", "near2", "far"])
        #expect(world.shares() == ["10.0.0.3:8080 24576", "10.0.0.4:8080 24576"])
        #expect(World(near: { $0.capacity = 1 }, names: ["near", "near2", "near3"]).planner().shareSum == 65_536)
    }

    @Test func familiesStayApart() {
        #expect(World(names: ["near"]).shares(of: Self.address("[fd00:77::1]:80")) == ["[fd01::3]:8080 65536"])
        let onlyIPv4 = World(client: { _ in }, near: { $0.addresses.removeLast() }, names: ["near"])
        #expect(onlyIPv4.refusal(of: Self.address("[fd00:77::1]:80")) == .noTarget)
    }

    @Test func aWorkloadsOwnAddressNeedsNoService() {
        #expect(World().shares(of: Self.address("10.0.0.3:9000")) == ["10.0.0.3:9000 65536"])
        #expect(World().refusal(of: Self.address("10.0.0.4:9000")) == .unroutable)
        #expect(World().refusal(of: Self.address("10.0.0.3:15006")) == .unroutable)
        #expect(World().refusal(of: Self.address("10.0.0.2:9000")) == .noTarget)
    }

    @Test func whatOnlyTheProxyKeepsStaysThere() {
        #expect(World(client: { $0.limits = WorkloadLimits(maxConnections: 9) }).refusal() == .limited(Self.source))
        #expect(World(near: { $0.limits = WorkloadLimits(bytesPerSecond: 9) }).refusal() == .noTarget)
        let governed = World(service: { $0.policy = DestinationPolicy(maxConnections: 9) })
        #expect(governed.refusal() == .governed(Self.service))
        #expect(World(isOn: false).refusal() == .switchedOff)
        #expect(World(closed: [102]).refusal() == .noTarget)
    }

    @Test func aPolicyCountsForEveryAddressOfTheSource() {
        let far = World(client: { $0.node = "n2" })
        #expect(far.refusal() == .sourceUnknown)
        var match = AuthorizationPolicy.Match()
        match.sourceIPs = ["10.0.0.77/32"].compactMap { IPPrefix($0) }
        let deny = AuthorizationPolicy(
            id: NamespacedName(namespace: "shop", name: "deny"), scope: .namespace, action: .deny,
            rules: [.init(clauses: [.init(matches: [match])])])
        #expect(World(policies: [deny], names: ["near"]).shares() == ["10.0.0.3:8080 65536"])
        let second = World(
            client: { $0.addresses.append(Self.address("10.0.0.77:1").ip) }, policies: [deny], names: ["near"])
        #expect(second.refusal() == .noTarget)
    }

    @Test func anEjectedEndpointGetsNothing() {
        #expect(World(ejected: ["10.0.0.3:8080"]).refusal() == .noTarget)
        #expect(World(ejected: ["10.0.0.3:8080"], names: ["near", "near2"]).shares() == ["10.0.0.4:8080 65536"])
    }

    @Test func nearGroupsComeFirst() {
        let world = World(service: { $0.loadBalancing = LoadBalancing(preference: [.node], mode: .failover) })
        #expect(world.shares() == ["10.0.0.3:8080 65536"])
    }

    @Test func tooManyTargetsStayOnTheProxy() {
        let names = (0...DirectVerdict.maxTargets).map { "near\($0)" }
        #expect(World(names: names).refusal() == .tooManyTargets)
    }
}

extension DirectPlanner {
    fileprivate var shareSum: UInt32 {
        let address = SocketAddress("240.240.0.1:80") ?? SocketAddress(ip: IPAddress(ipv4: 0), port: 1)
        let targets = try? self.targets(from: WorkloadID(namespace: "shop", name: "web"), to: address)
        return targets?.reduce(0) { $0 + $1.share } ?? 0
    }
}

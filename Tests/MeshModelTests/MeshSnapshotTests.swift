// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@Suite struct MeshSnapshotTests {
    private let backend = NamespacedName(namespace: "shop", name: "backend")

    /// `backend` has 240.240.0.1 and ports 80 (8080 on the endpoints) and 90.
    private func backendService() throws -> Service {
        Service(
            id: self.backend, addresses: [try ip("240.240.0.1")],
            ports: [.init(servicePort: 80, targetPort: 8080), .init(servicePort: 90, targetPort: 90)])
    }

    private func endpoint(
        _ id: String, at address: String, node: String, change: (inout Workload) throws -> Void = { _ in }
    ) throws -> Workload {
        try workload(id, at: [address], node: node) {
            $0.services = [self.backend: [.init(servicePort: 80, targetPort: 8080)]]
            try change(&$0)
        }
    }

    private func failure(_ result: Result<Route, RouteFailure>) -> RouteFailure? {
        if case .failure(let failure) = result { failure } else { nil }
    }

    // MARK: - Workload addresses

    @Test func aLocalWorkloadIsReachedLocally() throws {
        let mesh = try snapshot(workloads: [try workload("shop/web", at: ["10.0.1.1"])])
        let route = try mesh.route(to: try address("10.0.1.1:5432")) { _ in 0 }.get()
        #expect(route.path == .local)
        #expect(route.workload?.id == NamespacedName(namespace: "shop", name: "web"))
        #expect(route.service == nil)
        #expect(route.address == (try address("10.0.1.1:5432")))
    }

    @Test func aRemoteWorkloadIsReachedThroughItsNode() throws {
        let mesh = try snapshot(workloads: [try workload("shop/web", at: ["10.0.2.1"], node: "b")])
        let route = try mesh.route(to: try address("10.0.2.1:1")) { _ in 0 }.get()
        #expect(route.path == .tunnel(try #require(mesh.node("b"))))
    }

    @Test func aWorkloadOutsideTheMeshIsReachedPlainly() throws {
        let mesh = try snapshot(workloads: [try workload("shop/db", at: ["10.0.2.1"], node: "") { $0.tunnel = .none }])
        #expect(try mesh.route(to: try address("10.0.2.1:1")) { _ in 0 }.get().path == .plain)
    }

    @Test func anUnhealthyWorkloadIsReachedWhenItIsNamed() throws {
        let mesh = try snapshot(workloads: [try workload("shop/web", at: ["10.0.1.1"]) { $0.isHealthy = false }])
        #expect(try mesh.route(to: try address("10.0.1.1:1")) { _ in 0 }.get().path == .local)
    }

    @Test func workloadsThatShareAnAddressAreFoundByPort() throws {
        let web = try workload("shop/web", at: ["10.0.1.1", "fd00::1"]) {
            ($0.isHostNetwork, $0.ports) = (true, [80, 443])
        }
        let api = try workload("shop/api", at: ["10.0.1.1"], node: "b") {
            ($0.isHostNetwork, $0.ports) = (true, [8080])
        }
        let mesh = try snapshot(workloads: [web, api])
        #expect(mesh.workload(at: try ip("10.0.1.1")) == nil)
        #expect(mesh.workload(at: try address("10.0.1.1:443"))?.id == web.id)
        #expect(mesh.workload(at: try address("[fd00::1]:80"))?.id == web.id)
        let route = try mesh.route(to: try address("10.0.1.1:8080")) { _ in 0 }.get()
        #expect(route.workload?.id == api.id && route.path != .local)
        let unknown = try address("10.0.1.1:22")
        #expect(self.failure(mesh.route(to: unknown) { _ in 0 }) == .unknownSharedPort(unknown))
        #expect(RouteFailure.unknownSharedPort(unknown).reason == .unknownDestination)
        // Who has the address for itself has all of its ports.
        let alone = try workload("shop/alone", at: ["10.0.1.1"])
        #expect(try snapshot(workloads: [web, api, alone]).workload(at: try address("10.0.1.1:443"))?.id == alone.id)
    }

    @Test func ofTwoWorkloadsWithOneSharedPortTheLocalOneCounts() throws {
        let all = try ["a": "b", "c": "a", "d": "b"].map { name, node in
            try workload("shop/\(name)", at: ["10.0.1.1"], node: node) { ($0.isHostNetwork, $0.ports) = (true, [80]) }
        }
        #expect(try snapshot(workloads: all).workload(at: try address("10.0.1.1:80"))?.id.name == "c")
    }

    @Test func tunnelsAreDialledInAFamilyThatThisNodeHas() throws {
        let both = [try ip("fd00::2"), try ip("172.16.0.2")]
        for (own, expected) in [(["172.16.0.1"], "172.16.0.2"), (["fd00::1"], "fd00::2"), ([], "fd00::2")] {
            let peer = Node(name: "b", addresses: both, tunnelPort: 15008)
            let here = Node(name: "a", addresses: try own.map { try ip($0) }, tunnelPort: 15008)
            let mesh = MeshSnapshot(
                settings: try snapshot().settings, localNode: "a", nodes: own.isEmpty ? [peer] : [here, peer])
            #expect(mesh.tunnelAddress(of: peer)?.description == expected)
        }
        let only = Node(name: "c", addresses: [try ip("fd00::3")], tunnelPort: 1)
        #expect(try snapshot().tunnelAddress(of: only) == (try ip("fd00::3")))
    }

    @Test func aWorkloadOnAnUnknownNodeHasNoRoute() throws {
        let mesh = try snapshot(workloads: [try workload("shop/web", at: ["10.0.1.1"], node: "c")])
        let failure = self.failure(mesh.route(to: try address("10.0.1.1:1")) { _ in 0 })
        #expect(failure == .nodeUnknown(try name("shop/web"), node: "c"))
        #expect(failure?.reason == .noHealthyEndpoint)
    }

    @Test func ofTwoWorkloadsWithOneAddressTheHealthyThenTheLocalOneCounts() throws {
        let old = try workload("shop/a-old", at: ["10.0.1.1"]) { $0.isHealthy = false }
        let remote = try workload("shop/b", at: ["10.0.1.1"], node: "b")
        let local = try workload("shop/c", at: ["10.0.1.1"])
        for order in [[old, remote, local], [local, remote, old]] {
            #expect(try snapshot(workloads: order).workload(at: try ip("10.0.1.1"))?.id == local.id)
        }
        #expect(try snapshot(workloads: [old, remote]).workload(at: try ip("10.0.1.1"))?.id == remote.id)
    }

    @Test func anUnknownDestinationHasNoRoute() throws {
        let failure = self.failure(try snapshot().route(to: try address("10.0.9.9:80")) { _ in 0 })
        #expect(failure == .unknownDestination)
        #expect(failure?.reason == .unknownDestination)
    }

    // MARK: - Self calls

    @Test(arguments: ["10.0.1.1:15001", "10.0.1.1:15006", "10.0.1.1:15008", "240.240.0.1:15008", "172.16.0.2:15008"])
    func thePortsOfTheMeshAreRefused(_ destination: String) throws {
        let mesh = try snapshot(
            workloads: [try workload("shop/web", at: ["10.0.1.1"])], services: [try self.backendService()])
        let failure = self.failure(mesh.route(to: try address(destination)) { _ in 0 })
        #expect(failure == .selfCall)
        #expect(failure?.reason == .selfCall)
    }

    @Test func anEndpointNeverLeadsToAPortOfTheMesh() throws {
        let mesh = try snapshot(
            workloads: [
                try workload("shop/b1", at: ["10.0.1.1"]) {
                    $0.services = [self.backend: [.init(servicePort: 80, targetPort: 15006)]]
                }
            ], services: [try self.backendService()])
        #expect(self.failure(mesh.route(to: try address("240.240.0.1:80")) { _ in 0 }) == .selfCall)
    }

    // MARK: - Services

    @Test func aServiceLeadsToAnEndpointAndItsPort() throws {
        let mesh = try snapshot(
            workloads: [try self.endpoint("shop/b1", at: "10.0.2.1", node: "b")],
            services: [try self.backendService()])
        let route = try mesh.route(to: try address("240.240.0.1:80")) { _ in 0 }.get()
        #expect(route.service == self.backend)
        #expect(route.address == (try address("10.0.2.1:8080")))
        #expect(route.path == .tunnel(try #require(mesh.node("b"))))
    }

    @Test func aPortThatTheServiceLacks() throws {
        let mesh = try snapshot(services: [try self.backendService()])
        let failure = self.failure(mesh.route(to: try address("240.240.0.1:81")) { _ in 0 })
        #expect(failure == .unknownServicePort(self.backend))
        #expect(failure?.reason == .unknownDestination)
    }

    @Test func noEndpointAtAllAndNoHealthyOne() throws {
        let service = try self.backendService()
        let sick = try self.endpoint("shop/b1", at: "10.0.2.1", node: "b") { $0.isHealthy = false }
        for workloads in [[], [sick]] {
            let mesh = try snapshot(workloads: workloads, services: [service])
            #expect(
                self.failure(mesh.route(to: try address("240.240.0.1:80")) { _ in 0 })
                    == .noHealthyEndpoint(self.backend))
        }
        // Port 90 is the service's, but no endpoint has it.
        let mesh = try snapshot(
            workloads: [try self.endpoint("shop/b1", at: "10.0.2.1", node: "b")], services: [service])
        #expect(
            self.failure(mesh.route(to: try address("240.240.0.1:90")) { _ in 0 }) == .noHealthyEndpoint(self.backend))
    }

    @Test func endpointsOnUnknownNodesAreLeftOut() throws {
        let lost = try self.endpoint("shop/b1", at: "10.0.3.1", node: "c")
        let mesh = try snapshot(workloads: [lost], services: [try self.backendService()])
        #expect(
            self.failure(mesh.route(to: try address("240.240.0.1:80")) { _ in 0 })
                == .nodeUnknown(lost.id, node: "c"))
        let both = try snapshot(
            workloads: [lost, try self.endpoint("shop/b2", at: "10.0.2.1", node: "b")],
            services: [try self.backendService()])
        #expect(try both.route(to: try address("240.240.0.1:80")) { _ in 0 }.get().workload?.id.name == "b2")
    }

    @Test func endpointsAreChosenByWeight() throws {
        let mesh = try snapshot(
            workloads: [
                try self.endpoint("shop/b1", at: "10.0.1.1", node: "a") { $0.capacity = 1 },
                try self.endpoint("shop/b2", at: "10.0.2.1", node: "b") { $0.capacity = 3 },
                try self.endpoint("shop/b3", at: "10.0.2.2", node: "b") { $0.isHealthy = false },
            ], services: [try self.backendService()])
        var chosen: [String: Int] = [:]
        for point in 0..<4 as Range<UInt32> {
            let route = try mesh.route(to: try address("240.240.0.1:80")) { total in
                #expect(total == 4)
                return point
            }.get()
            chosen[route.workload?.id.name ?? "", default: 0] += 1
        }
        #expect(chosen == ["b1": 1, "b2": 3])
        // A pick out of range is taken around, never out of bounds.
        #expect(try mesh.route(to: try address("240.240.0.1:80")) { _ in .max }.get().workload != nil)
    }

    @Test func endpointsThatWereTriedAreNotChosenAgain() throws {
        let mesh = try snapshot(
            workloads: [
                try self.endpoint("shop/b1", at: "10.0.1.1", node: "a") { $0.capacity = 1000 },
                try self.endpoint("shop/b2", at: "10.0.2.1", node: "b") { $0.capacity = 1 },
                try self.endpoint("shop/b3", at: "10.0.2.2", node: "b") { $0.capacity = 2 },
            ], services: [try self.backendService()])
        let virtual = try address("240.240.0.1:80")
        var chosen: [String] = []
        for point in 0..<3 as Range<UInt32> {
            let route = try mesh.route(to: virtual, excluding: [try name("shop/b1")]) { total in
                #expect(total == 3)
                return point
            }.get()
            chosen.append(route.workload?.id.name ?? "")
        }
        #expect(chosen == ["b2", "b3", "b3"])
        let all = Set(try ["shop/b1", "shop/b2", "shop/b3"].map { try name($0) })
        #expect(mesh.route(to: virtual, excluding: all) { _ in 0 } == .failure(.noHealthyEndpoint(self.backend)))
    }

    @Test func oneEndpointNeedsNoPick() throws {
        let mesh = try snapshot(
            workloads: [try self.endpoint("shop/b1", at: "10.0.1.1", node: "a")], services: [try self.backendService()])
        var picks = 0
        _ = mesh.route(to: try address("240.240.0.1:80")) { _ in
            picks += 1
            return 0
        }
        #expect(picks == 0)
    }

    @Test func hugeWeightsDoNotOverflow() throws {
        let mesh = try snapshot(
            workloads: try (1...5).map { index in
                try self.endpoint("shop/b\(index)", at: "10.0.1.\(index)", node: "a") { $0.capacity = .max }
            }, services: [try self.backendService()])
        var chosen = Set<String>()
        for step in 0..<5 as Range<UInt32> {
            let route = try mesh.route(to: try address("240.240.0.1:80")) { total in total / 5 * step + 1 }.get()
            chosen.insert(route.workload?.id.name ?? "")
        }
        #expect(chosen.count == 5)
    }

    @Test func aHostNetworkEndpointIsReachedThroughItsService() throws {
        let mesh = try snapshot(
            workloads: [try self.endpoint("shop/b1", at: "172.16.0.2", node: "b") { $0.isHostNetwork = true }],
            services: [try self.backendService()])
        #expect(
            try mesh.route(to: try address("240.240.0.1:80")) { _ in 0 }.get().address
                == (try address("172.16.0.2:8080")))
    }

    @Test func theAddressFamilyOfTheClientIsPreferred() throws {
        let mesh = try snapshot(
            workloads: [
                try workload("shop/b1", at: ["fd00::1", "10.0.1.1"]) {
                    $0.services = [self.backend: [.init(servicePort: 80, targetPort: 8080)]]
                }
            ], services: [try self.backendService()])
        #expect(try mesh.route(to: try address("240.240.0.1:80")) { _ in 0 }.get().address.ip == (try ip("10.0.1.1")))
    }

    @Test func aVirtualAddressBelongsToTheFirstServiceByName() throws {
        let other = Service(
            id: try name("shop/aaa"), addresses: [try ip("240.240.0.1")],
            ports: [.init(servicePort: 1, targetPort: 1)])
        let mesh = try snapshot(services: [try self.backendService(), other])
        #expect(mesh.service(at: try ip("240.240.0.1"))?.id.name == "aaa")
    }

    // MARK: - Lookups

    @Test func servicesAreFoundByHostname() throws {
        let mesh = try snapshot(services: [try self.backendService()])
        for text in ["backend.shop.mesh.internal", "Backend.Shop.mesh.internal."] {
            #expect(mesh.service(hostname: text)?.id == self.backend)
        }
        #expect(mesh.service(hostname: "") == nil)
        #expect(mesh.service(hostname: ".") == nil)
    }

    @Test func backingWorkloadsIncludeTheUnhealthy() throws {
        let mesh = try snapshot(workloads: [
            try self.endpoint("shop/b2", at: "10.0.2.1", node: "b") { $0.isHealthy = false },
            try self.endpoint("shop/b1", at: "10.0.1.1", node: "a"),
        ])
        #expect(mesh.workloads(backing: self.backend).map(\.id.name) == ["b1", "b2"])
    }

    @Test func prefixesBoundTheMesh() throws {
        let mesh = try snapshot()
        #expect(mesh.isInsideMesh(try ip("240.240.255.255")))
        #expect(!mesh.isInsideMesh(try ip("240.241.0.0")))
        #expect(!mesh.isInsideMesh(try ip("fd00::1")))
    }

    // MARK: - Policies

    @Test(arguments: ["a", "b"]) func policiesApplyByScope(_ node: String) throws {
        let mesh = try snapshot(
            workloads: [
                try workload("shop/web", at: ["10.0.1.1"], node: node) {
                    $0.policies = [try name("shop/selected"), try name("shop/gone")]
                }
            ],
            policies: [
                try policy("nodemesh-system/global", .deny, [], scope: .global),
                try policy("shop/namespace", .allow, [], scope: .namespace),
                try policy("ops/namespace", .deny, [everything], scope: .namespace),
                try policy("shop/selected", .deny, [], scope: .workloadSelector),
                try policy("shop/unselected", .deny, [everything], scope: .workloadSelector),
            ])
        let set = mesh.policies(for: try #require(mesh.workload(try name("shop/web"))))
        #expect(set.denying.map(\.id.description) == ["nodemesh-system/global", "shop/selected"])
        #expect(set.allowing.map(\.id.description) == ["shop/namespace"])
        #expect(set.unknown.map(\.description) == ["shop/gone"])
        #expect(
            mesh.decide(try input(shopper), for: try #require(mesh.workload(try name("shop/web")))).reason
                == .unknownPolicy)
    }

    @Test func theListOfTheGivenWorkloadCounts() throws {
        let listed = try workload("shop/web", at: ["10.0.1.1"]) { $0.policies = [try name("shop/deny")] }
        let mesh = try snapshot(
            workloads: [try workload("shop/web", at: ["10.0.1.1"])],
            policies: [try policy("shop/deny", .deny, [everything], scope: .workloadSelector)])
        #expect(!mesh.decide(try input(shopper), for: listed).isAllowed)
        #expect(!mesh.trace(try input(shopper), for: listed).decision.isAllowed)
    }
}

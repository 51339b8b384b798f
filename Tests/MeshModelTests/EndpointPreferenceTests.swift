// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

/// Which endpoints of a service the clients of a node may use, and in which order.
@Suite struct EndpointPreferenceTests {
    private static let service = NamespacedName(namespace: "shop", name: "backend")
    private let here = Locality(region: "eu", zone: "eu-1", subzone: "rack-1")

    private struct Place: CustomStringConvertible {
        var name: String
        var node: String
        var locality: Locality
        var description: String { self.name }
    }

    private static let places = [
        Place(name: "far", node: "f", locality: Locality(region: "us", zone: "us-1", subzone: "rack-1")),
        Place(name: "region", node: "r", locality: Locality(region: "eu", zone: "eu-2", subzone: "rack-1")),
        Place(name: "zone", node: "z", locality: Locality(region: "eu", zone: "eu-1", subzone: "rack-2")),
        Place(name: "rack", node: "k", locality: Locality(region: "eu", zone: "eu-1", subzone: "rack-1")),
        Place(name: "node", node: "a", locality: Locality(region: "eu", zone: "eu-1", subzone: "rack-1")),
        Place(name: "unknown", node: "u", locality: Locality()),
    ]

    /// The names in each group.
    private func groups(
        _ mode: LoadBalancing.Mode, _ preference: [LoadBalancing.Scope], from locality: Locality? = nil,
        change: (inout [Workload]) -> Void = { _ in }
    ) throws -> Result<[[String]], RouteFailure> {
        let ports = [PortMapping(servicePort: 80, targetPort: 8080)]
        var workloads = try Self.places.enumerated().map { index, place in
            try workload("shop/\(place.name)", at: ["10.0.0.\(index + 1)"], node: place.node) {
                $0.services = [Self.service: ports]
                $0.locality = place.locality
            }
        }
        change(&workloads)
        let mesh = MeshSnapshot(
            settings: MeshSettings(
                trustDomain: "mesh.internal", prefixes: [], trustBundle: [], rootNamespace: "nodemesh-system"),
            localNode: "a", localLocality: locality ?? self.here, workloads: workloads,
            services: [
                Service(
                    id: Self.service, addresses: [try ip("240.240.0.1")], ports: ports,
                    loadBalancing: LoadBalancing(preference: preference, mode: mode))
            ],
            nodes: try ["a", "f", "r", "z", "k", "u"].map {
                Node(name: $0, addresses: [try ip("172.16.0.1")], tunnelPort: 15008)
            })
        var groups: [[String]] = []
        let route = mesh.resolve(try address("240.240.0.1:80")) { set in
            groups = set.groups.map { $0.map { set.endpoints[$0].workload.id.name }.sorted() }
            return set.endpoints.isEmpty ? nil : 0
        }
        return route.map { _ in groups }
    }

    @Test func `any: all alike, whatever the preference`() throws {
        #expect(
            try self.groups(.any, [.region, .node]).get() == [["far", "node", "rack", "region", "unknown", "zone"]])
    }

    @Test func `failover: those that match most of the preference first`() throws {
        #expect(
            try self.groups(.failover, [.region, .zone, .subzone, .node]).get()
                == [["node"], ["rack"], ["zone"], ["region"], ["far", "unknown"]])
        #expect(
            try self.groups(.failover, [.zone]).get() == [["node", "rack", "zone"], ["far", "region", "unknown"]])
    }

    @Test func `a scope counts only when all before it match`() throws {
        // The far one's rack has the same name, in another zone.
        #expect(
            try self.groups(.failover, [.zone, .subzone]).get()
                == [["node", "rack"], ["zone"], ["far", "region", "unknown"]])
        #expect(
            try self.groups(.failover, [.subzone, .zone]).get()
                == [["node", "rack"], ["far", "region"], ["unknown", "zone"]])
    }

    @Test func `cluster and network are the same everywhere in a mesh`() throws {
        #expect(
            try self.groups(.failover, [.network, .cluster, .node]).get()
                == [["node"], ["far", "rack", "region", "unknown", "zone"]])
    }

    @Test func `no preference is no difference`() throws {
        #expect(try self.groups(.failover, []).get().count == 1)
        #expect(try self.groups(.strict, []).get().first?.count == 6)
    }

    @Test func `two unknown places are equal`() throws {
        let result = try self.groups(.strict, [.zone], from: Locality()) { workloads in
            for index in workloads.indices where workloads[index].node == "a" {
                workloads[index].locality = Locality()
            }
        }
        #expect(try result.get() == [["node", "unknown"]])
    }

    @Test func `strict: the whole preference or nothing`() throws {
        #expect(try self.groups(.strict, [.region, .zone]).get() == [["node", "rack", "zone"]])
        #expect(try self.groups(.strict, [.node]).get() == [["node"]])
        let result = try self.groups(.strict, [.node]) { workloads in
            for index in workloads.indices where workloads[index].node == "a" { workloads[index].isHealthy = false }
        }
        #expect(result == .failure(.noPreferredEndpoint(Self.service)))
        #expect(RouteFailure.noPreferredEndpoint(Self.service).reason == .noHealthyEndpoint)
    }

    @Test func `an unhealthy best leaves the next best`() throws {
        let result = try self.groups(.failover, [.node, .zone]) { workloads in
            for index in workloads.indices where workloads[index].node == "a" { workloads[index].isHealthy = false }
        }
        #expect(try result.get().first == ["far", "rack", "region", "unknown", "zone"])
    }

    @Test func `choosing by weight alone goes by groups too`() throws {
        let ports = [PortMapping(servicePort: 80, targetPort: 8080)]
        let mesh = MeshSnapshot(
            settings: MeshSettings(
                trustDomain: "mesh.internal", prefixes: [], trustBundle: [], rootNamespace: "nodemesh-system"),
            localNode: "a", localLocality: self.here,
            workloads: [
                try workload("shop/near", at: ["10.0.0.1"]) {
                    $0.services = [Self.service: ports]
                    $0.locality = self.here
                },
                try workload("shop/away", at: ["10.0.0.2"]) {
                    $0.services = [Self.service: ports]
                    $0.capacity = 1000
                },
            ],
            services: [
                Service(
                    id: Self.service, addresses: [try ip("240.240.0.1")], ports: ports,
                    loadBalancing: LoadBalancing(preference: [.zone], mode: .failover))
            ])
        let virtual = try address("240.240.0.1:80")
        #expect(try mesh.route(to: virtual) { _ in 999 }.get().workload?.id.name == "near")
        #expect(
            try mesh.route(to: virtual, excluding: [try name("shop/near")]) { _ in 0 }.get().workload?.id.name
                == "away")
    }
}

// SPDX-License-Identifier: Apache-2.0
import MeshModel
import Testing

@testable import MeshProxy

@Suite struct EndpointChooserTests {
    private static let service = NamespacedName(namespace: "prod", name: "api")

    /// Endpoints `e0`, `e1`, … with weights, each in a zone; the client is in zone `near`.
    private func endpoints(
        _ weights: [UInt32], zones: [String]? = nil, mode: LoadBalancing.Mode = .any
    ) throws -> EndpointSet {
        let virtual = SocketAddress(ip: try #require(IPAddress("240.240.0.1")), port: 80)
        let ports = [PortMapping(servicePort: 80, targetPort: 8080)]
        let workloads = weights.enumerated().map { index, weight in
            Workload(
                id: WorkloadID(namespace: "prod", name: "e\(index)"),
                addresses: [IPAddress(ipv4: 0x0a00_0001 + UInt32(index))], node: "a", serviceAccount: "api",
                trustDomain: "mesh.test", capacity: weight, services: [Self.service: ports],
                locality: Locality(region: "r", zone: zones?[index] ?? "near"))
        }
        let snapshot = MeshSnapshot(
            settings: MeshSettings(trustDomain: "mesh.test", prefixes: [], trustBundle: [], rootNamespace: "root"),
            localNode: "a", localLocality: Locality(region: "r", zone: "near"), workloads: workloads,
            services: [
                Service(
                    id: Self.service, addresses: [virtual.ip], ports: ports,
                    loadBalancing: LoadBalancing(preference: [.region, .zone], mode: mode))
            ])
        var found: EndpointSet?
        _ = snapshot.resolve(virtual) { set in
            found = set
            return 0
        }
        return try #require(found)
    }

    /// How often each endpoint is taken, by name.
    private func draws(
        _ set: EndpointSet, _ count: Int = 20_000, tried: Set<String> = [],
        signal: @escaping (String) -> EndpointSignal = { _ in EndpointSignal() }
    ) -> [String: Int] {
        var random = FastRandom(seed: 42)
        var taken: [String: Int] = [:]
        let names = set.endpoints.map(\.workload.id.name)
        let chooser = EndpointChooser<FastRandom>(
            set: set, isTried: { tried.contains(names[$0]) }, signal: { signal(names[$0]) })
        for _ in 0..<count {
            guard let index = chooser.choose(&random) else { continue }
            taken[names[index], default: 0] += 1
        }
        return taken
    }

    /// Of 20,000 draws, within four percent of all.
    private func isNear(_ count: Int?, _ share: Double) -> Bool {
        abs(Double(count ?? 0) - 20_000 * share) < 800
    }

    @Test func `idle endpoints are taken by weight`() throws {
        let taken = self.draws(try self.endpoints([1, 3, 6]))
        #expect(self.isNear(taken["e0"], 0.1) && self.isNear(taken["e1"], 0.3) && self.isNear(taken["e2"], 0.6))
    }

    @Test func `so they are in large groups`() throws {
        let taken = self.draws(try self.endpoints((0..<40).map { $0 < 20 ? 1 : 3 }))
        let light = (0..<20).reduce(0) { $0 + (taken["e\($1)"] ?? 0) }
        #expect(self.isNear(light, 0.25))
        #expect(taken.count == 40)
    }

    @Test(arguments: [2, 3, 30]) func `a slow one is avoided`(count: Int) throws {
        let set = try self.endpoints(Array(repeating: 1, count: count))
        let taken = self.draws(set) { EndpointSignal(latency: $0 == "e0" ? 50_000 : 500) }
        // Drawn twice it could be taken, but the same one is never drawn twice.
        #expect(taken["e0"] == nil)
        #expect(taken.count == count - 1)
    }

    @Test func `latencies of less than ten milliseconds do not matter`() throws {
        let taken = self.draws(try self.endpoints([1, 1])) { EndpointSignal(latency: $0 == "e0" ? 9000 : 30) }
        #expect(self.isNear(taken["e0"], 0.5))
    }

    @Test func `open connections even out, in proportion to the weights`() throws {
        var open: [String: Int] = [:]
        var random = FastRandom(seed: 1)
        let set = try self.endpoints([1, 1, 4])
        for _ in 0..<6000 {
            let now = open
            let chooser = EndpointChooser<FastRandom>(
                set: set, isTried: { _ in false },
                signal: { EndpointSignal(open: now[set.endpoints[$0].workload.id.name] ?? 0) })
            let index = try #require(chooser.choose(&random))
            open[set.endpoints[index].workload.id.name, default: 0] += 1
        }
        #expect((900...1100).contains(open["e0"] ?? 0) && (3800...4200).contains(open["e2"] ?? 0))
        // One with many connections from before gets none until the others have caught up.
        let taken = self.draws(set) { EndpointSignal(open: $0 == "e2" ? 500 : 10) }
        #expect(taken["e2"] == nil)
    }

    @Test(arguments: [3, 20]) func `what is set aside or was tried is not taken`(count: Int) throws {
        let set = try self.endpoints(Array(repeating: 1, count: count))
        let taken = self.draws(set, tried: ["e1"]) { EndpointSignal(availability: $0 == "e0" ? 0 : 1000) }
        #expect(taken["e0"] == nil && taken["e1"] == nil && taken.count == count - 2)
    }

    @Test(arguments: [4, 20]) func `what has just come back gets its small share`(count: Int) throws {
        let set = try self.endpoints(Array(repeating: 1, count: count))
        let taken = self.draws(set) { EndpointSignal(availability: $0 == "e0" ? 100 : 1000) }
        let share = 0.1 / (Double(count - 1) + 0.1)
        #expect(self.isNear(taken["e0"], share) && taken["e0"] != nil)
    }

    @Test func `when all are set aside they are used all the same, but never again after they failed`() throws {
        let set = try self.endpoints([1, 1])
        let out = { (_: String) in EndpointSignal(availability: 0) }
        #expect(self.isNear(self.draws(set, signal: out)["e0"], 0.5))
        #expect(self.draws(set, tried: ["e0"], signal: out) == ["e1": 20_000])
        #expect(self.draws(set, tried: ["e0", "e1"], signal: out).isEmpty)
        let one = try self.endpoints([1])
        #expect(self.draws(one, 10, signal: out) == ["e0": 10])
        #expect(self.draws(one, 10, tried: ["e0"]).isEmpty)
    }

    @Test func `the next best group is for when the best has nothing left`() throws {
        let set = try self.endpoints([1, 1, 9], zones: ["near", "near", "far"], mode: .failover)
        #expect(self.draws(set)["e2"] == nil)
        // Slow and loaded neighbours are still neighbours.
        #expect(self.draws(set) { EndpointSignal(latency: $0 == "e2" ? 1 : 90_000, open: 7) }["e2"] == nil)
        #expect(self.draws(set, tried: ["e0"]) == ["e1": 20_000])
        let taken = self.draws(set, tried: ["e0"]) { EndpointSignal(availability: $0 == "e1" ? 0 : 1000) }
        #expect(taken == ["e2": 20_000])
        // All set aside: the best of them again.
        #expect(self.draws(set) { _ in EndpointSignal(availability: 0) }["e2"] == nil)
    }

    @Test func `the greatest weights do not overflow`() throws {
        let taken = self.draws(try self.endpoints([.max, .max, .max, 1]))
        #expect(["e0", "e1", "e2"].allSatisfy { self.isNear(taken[$0], 1.0 / 3) })
    }
}

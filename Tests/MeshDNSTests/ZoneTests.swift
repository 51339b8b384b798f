// SPDX-License-Identifier: Apache-2.0
import MeshDNS
import MeshModel
import Testing

struct ZoneTests {
    private static let web = NamespacedName(namespace: "shop", name: "web")
    private static let headless = NamespacedName(namespace: "shop", name: "pods")

    static func zone(isKnown: Bool = true) -> MeshZone {
        let address = { (text: String) in IPAddress(text) ?? IPAddress(high: 0, low: 0) }
        let ports = [PortMapping(servicePort: 80, targetPort: 8080)]
        func pod(_ name: String, _ addresses: [String], isHealthy: Bool = true) -> Workload {
            Workload(
                id: WorkloadID(namespace: "shop", name: name), addresses: addresses.map(address), node: "n",
                serviceAccount: "x", trustDomain: "t", isHealthy: isHealthy, services: [Self.headless: ports])
        }
        let snapshot = MeshSnapshot(
            settings: MeshSettings(trustDomain: "t", prefixes: [], trustBundle: [], rootNamespace: "r"), localNode: "n",
            workloads: [
                pod("p1", ["10.1.0.1", "fd00::1"]), pod("p2", ["10.1.0.2"]), pod("p3", ["10.1.0.3"], isHealthy: false),
            ],
            services: [
                Service(id: Self.web, addresses: [address("240.240.0.1"), address("fd6e::1")], ports: ports),
                Service(
                    id: NamespacedName(namespace: "shop", name: "four"), addresses: [address("240.240.0.4")],
                    ports: ports),
                Service(id: Self.headless, addresses: [], ports: ports),
            ])
        return MeshZone(
            snapshot: isKnown ? snapshot : nil, domain: Messages.name("mesh.internal"),
            aliases: [Messages.name("svc.cluster.local")], timeToLive: 5)
    }

    /// Addresses, `nodata`, `nxdomain`, `unavailable`, other types; nil: somebody else's.
    static func ask(_ name: String, _ type: RecordType = .a, isKnown: Bool = true) -> [String]? {
        switch Self.zone(isKnown: isKnown).answer(Messages.question(name, type)) {
        case .records(let records):
            records.map { IPAddress(bytes: $0.data)?.description ?? $0.type.description }.sorted()
        case .noData: ["nodata"]
        case .nameError: ["nxdomain"]
        case .unavailable: ["unavailable"]
        case nil: nil
        }
    }

    static let answers: [(String, RecordType, [String]?)] = [
        ("web.shop.mesh.internal", .a, ["240.240.0.1"]), ("web.shop.mesh.internal", .aaaa, ["fd6e::1"]),
        ("WEB.Shop.MESH.internal", .a, ["240.240.0.1"]),
        ("web.shop.mesh.internal", .any, ["240.240.0.1", "fd6e::1"]),
        ("four.shop.mesh.internal", .aaaa, ["nodata"]), ("web.shop.mesh.internal", .https, ["nodata"]),
        ("web.shop.mesh.internal", .svcb, ["nodata"]), ("web.shop.mesh.internal", .srv, ["nodata"]),
        ("web.shop.mesh.internal", .mx, ["nodata"]), ("web.shop.mesh.internal", .txt, ["nodata"]),
        ("web.shop.mesh.internal", .ptr, ["nodata"]),
        ("pods.shop.mesh.internal", .a, ["10.1.0.1", "10.1.0.2"]), ("pods.shop.mesh.internal", .aaaa, ["fd00::1"]),
        ("nobody.shop.mesh.internal", .a, ["nxdomain"]), ("web.other.mesh.internal", .a, ["nxdomain"]),
        ("shop.mesh.internal", .a, ["nodata"]), ("other.mesh.internal", .a, ["nxdomain"]),
        ("mesh.internal", .a, ["nodata"]), ("mesh.internal", .soa, ["SOA"]),
        ("_http._tcp.web.shop.mesh.internal", .srv, ["nxdomain"]),
        // What a search list makes of other names ends here.
        ("example.org.mesh.internal", .a, ["nxdomain"]), ("a.example.org.mesh.internal", .a, ["nxdomain"]),
        ("web.shop.svc.cluster.local", .a, ["240.240.0.1"]), ("four.shop.svc.cluster.local", .aaaa, ["nodata"]),
        ("nobody.shop.svc.cluster.local", .a, nil), ("svc.cluster.local", .soa, nil),
        ("pod.web.shop.svc.cluster.local", .a, nil),
        ("example.org", .a, nil), ("internal", .a, nil), ("notmesh.internal", .a, nil),
        ("1.0.240.240.in-addr.arpa", .ptr, ["PTR"]), ("1.0.240.240.in-addr.arpa", .a, ["nodata"]),
        ("9.0.240.240.in-addr.arpa", .ptr, nil), ("1.0.1.10.in-addr.arpa", .ptr, nil),
    ]

    @Test(arguments: Self.answers) func namesHaveTheirAnswers(name: String, type: RecordType, expected: [String]?) {
        #expect(Self.ask(name, type) == expected)
    }

    @Test func nothingIsDeniedBeforeTheMeshIsKnown() {
        #expect(Self.ask("web.shop.mesh.internal", isKnown: false) == ["unavailable"])
        #expect(Self.ask("web.shop.svc.cluster.local", isKnown: false) == nil)
        #expect(Self.ask("example.org", isKnown: false) == nil)
    }

    @Test func anAnswerKeepsTheQuestionsCase() throws {
        let query = try DNSQuery(Messages.query("wEb.sHOP.mesh.INTERNAL", id: 3, edns: EDNS(size: 1232)))
        let zone = Self.zone()
        let answer = try #require(zone.answer(query.question))
        let seen = try #require(Messages.read(zone.message(answer, to: query, limit: 512).bytes))
        #expect(seen.written == query.question.written && seen.isAuthoritative && seen.edns == 1232)
        #expect(seen.addresses == ["240.240.0.1"] && seen.times == [5] && seen.id == 3)
    }

    @Test func absenceIsRememberedAsLongAsTheNames() throws {
        let query = try DNSQuery(Messages.query("x.y.mesh.internal"))
        let zone = Self.zone()
        let message = zone.message(try #require(zone.answer(query.question)), to: query, limit: 512)
        let seen = try #require(Messages.read(message.bytes))
        #expect(seen.code == ResponseCode.nameError.rawValue && seen.authority == [.soa] && seen.times == [5])
        #expect(DNSResponse(message.bytes)?.lifetime == 5)
    }

    @Test func whatDoesNotFitIsToldByTruncation() throws {
        let query = try DNSQuery(Messages.query("pods.shop.mesh.internal"))
        let zone = Self.zone()
        let message = zone.message(try #require(zone.answer(query.question)), to: query, limit: 50)
        #expect(Messages.read(message.bytes)?.isTruncated == true)
    }

    @Test func resolversAreReadFromResolvConf() {
        let text = """
            # comment
            search a.b
            nameserver 192.0.2.1
            nameserver   2001:db8::1
            nameserver fe80::1%eth0
            nameserver fe80::2%gone
            nameserver nonsense
            nameserver 192.0.2.1
            nameserver 0.0.0.0
            options ndots:5
            """
        let servers = ResolverConfiguration.servers(in: text) { $0 == "eth0" ? 7 : nil }
        #expect(servers.map(\.description) == ["192.0.2.1", "2001:db8::1", "fe80::1"])
        #expect(servers.last?.scope == 7)
        #expect(ResolverConfiguration.servers(in: "") { _ in nil }.map(\.description) == ["127.0.0.1"])
    }
}

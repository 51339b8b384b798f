// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@Suite struct ValueTests {
    @Test(arguments: ["0.0.0.0", "127.0.0.1", "255.255.255.255", "::", "::1", "fd00::1", "1:2:3:4:5:6:7:8", "1::8"])
    func addressesRoundTrip(_ text: String) {
        #expect(IPAddress(text)?.description == text)
    }

    @Test(arguments: [
        "", "1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", " 1.2.3.4", "1.2.3.-4", "a.b.c.d", ":",
        ":::", "1::2::3", "12345::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "fe80::1%eth0", "::g", "1.2.3.4::",
        "+1.2.3.4", "::+1",
    ])
    func badAddresses(_ text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test func linkLocalAddressesAreTold() throws {
        for text in ["169.254.0.0", "169.254.255.255", "fe80::1", "febf::1"] { #expect(try ip(text).isLinkLocal) }
        for text in ["169.253.255.255", "169.255.0.0", "fe00::1", "fec0::1", "::1"] {
            #expect(try !ip(text).isLinkLocal)
        }
    }

    @Test func mappedAddressesAreIPv4() {
        #expect(IPAddress("::ffff:10.0.0.1")?.description == "10.0.0.1")
        #expect(IPAddress("::ffff:10.0.0.1") == IPAddress("10.0.0.1"))
    }

    @Test(arguments: ["", "/", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0/8", "/8"])
    func badPrefixes(_ text: String) {
        #expect(IPPrefix(text) == nil)
    }

    @Test func prefixesContain() throws {
        #expect(try prefix("10.1.2.3/8").description == "10.0.0.0/8")
        #expect(try prefix("10.0.0.0/8").contains(try ip("10.255.255.255")))
        #expect(try !prefix("10.0.0.0/8").contains(try ip("11.0.0.0")))
        #expect(try prefix("0.0.0.0/0").contains(try ip("1.2.3.4")))
        #expect(try !prefix("0.0.0.0/0").contains(try ip("::1")))
        #expect(try prefix("10.0.0.1").contains(try ip("10.0.0.1")))
        #expect(try prefix("fd00::/8").contains(try ip("fdff::1")))
    }

    @Test(arguments: [
        "", ":80", "1.2.3.4", "1.2.3.4:", "1.2.3.4:0", "1.2.3.4:65536", "1.2.3.4:+1", "::1:80", "[1.2.3.4]:1",
    ])
    func badSocketAddresses(_ text: String) {
        #expect(SocketAddress(text) == nil)
    }

    @Test(arguments: ["1.2.3.4:1", "[::1]:65535"]) func socketAddressesRoundTrip(_ text: String) {
        #expect(SocketAddress(text)?.description == text)
    }

    @Test(arguments: [
        "", "spiffe://", "spiffe://td", "spiffe://td/ns/a/sa", "spiffe://td/ns/a/sa/", "spiffe://td/ns//sa/b",
        "spiffe://TD/ns/a/sa/b", "spiffe://td/ns/a/sa/b/c", "spiffe://td/ns/../sa/b", "spiffe://td/ns/a/sa/b?x",
        "https://td/ns/a/sa/b", "spiffe://td/node/", "spiffe://td/sa/a/ns/b", "spiffe:///ns/a/sa/b",
    ])
    func badIdentities(_ text: String) {
        #expect(SPIFFEID(text) == nil)
    }

    @Test func identitiesRoundTrip() {
        let id = SPIFFEID("spiffe://mesh.internal/ns/shop/sa/web")
        #expect(id?.description == "spiffe://mesh.internal/ns/shop/sa/web")
        #expect(id?.principal == "mesh.internal/ns/shop/sa/web")
        #expect(SPIFFEID("spiffe://mesh.internal/node/n1")?.namespace == nil)
    }
}

@Suite struct LocalityTests {
    @Test(arguments: [
        ("", Locality()), ("eu", Locality(region: "eu")), ("eu/1a", Locality(region: "eu", zone: "1a")),
        ("eu/1a/r.3", Locality(region: "eu", zone: "1a", subzone: "r.3")),
    ])
    func aLocalityIsItsText(_ text: String, _ locality: Locality) {
        #expect(Locality(text) == locality)
        #expect(locality.description == text)
        #expect(locality.isKnown == !text.isEmpty)
    }

    @Test(arguments: ["/", "eu/", "/1a", "eu//r3", "a/b/c/d", "e u", "..", "eu/\(String(repeating: "x", count: 64))"])
    func otherTextsAreNone(_ text: String) {
        #expect(Locality(text) == nil)
    }

    @Test func figuresAreThoseThatAreDeclared() {
        #expect(DestinationPolicy().figures.isEmpty && WorkloadLimits().figures.isEmpty)
        #expect(LoadBalancing(preference: [.zone]).figures.isEmpty)
        #expect(LoadBalancing(preference: [.node], mode: .strict).figures == ["only": "node"])
        #expect(
            DestinationPolicy(maxPending: 4, connectTimeout: .milliseconds(1500)).figures
                == ["maxPending": "4", "connectTimeout": "1500ms"])
        #expect(WorkloadLimits(bytesPerSecond: 1 << 40).figures == ["bytesPerSecond": "1099511627776"])
    }

    @Test func aNodeIsWhereItWasToldOrWhereItsWorkloadsAre() throws {
        let here = try workload("shop/web", at: ["10.0.1.1"]) { $0.locality = Locality(region: "eu") }
        let there = try workload("shop/api", at: ["10.0.2.1"], node: "b") { $0.locality = Locality(region: "us") }
        let mesh = try snapshot(workloads: [there, here])
        #expect(mesh.localLocality == Locality(region: "eu"))
        #expect(try snapshot(workloads: [there]).localLocality == Locality())
        let told = MeshSnapshot(
            settings: mesh.settings, localNode: "a", localLocality: Locality(region: "ap"), workloads: [here])
        #expect(told.localLocality == Locality(region: "ap"))
    }

    @Test func `a trace context reads what it writes and nothing else`() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        #expect(TraceContext(text)?.description == text)
        let made = TraceContext.random()
        #expect(TraceContext(made.description) == made && made != TraceContext.random())
        for wrong in [
            "", "nonsense", "01" + text.dropFirst(2), text + "-", text.uppercased(), String(text.dropLast()),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319+-b7ad6b7169203331-01",
        ] {
            #expect(TraceContext(wrong) == nil, "\(wrong)")
        }
    }
}

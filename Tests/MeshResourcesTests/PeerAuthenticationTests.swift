// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshModel
import MeshResources
import Testing

@Suite struct PeerAuthenticationTests {
    private func make(_ spec: String, namespace: String = "shop") throws -> PeerAuthenticationResource {
        try peerAuthentication(document("PeerAuthentication", namespace: namespace, spec: spec))
    }

    private func effective(_ resources: [PeerAuthenticationResource]) -> EffectiveMutualTLS {
        EffectiveMutualTLS(
            labels: ["app": "web"], namespace: "shop", rootNamespace: "nodemesh-system", resources: resources)
    }

    @Test func nothingSaidIsPermissive() {
        #expect(!self.effective([]).isStrict)
        #expect(self.effective([]).policy(rootNamespace: "nodemesh-system") == nil)
    }

    /// Modes of the mesh, the namespace and the workload; empty: none is there.
    @Test(arguments: [
        ("STRICT", "", "", true), ("STRICT", "PERMISSIVE", "", false), ("STRICT", "UNSET", "", true),
        ("STRICT", "PERMISSIVE", "STRICT", true), ("STRICT", "STRICT", "PERMISSIVE", false),
        ("STRICT", "", "UNSET", true), ("PERMISSIVE", "STRICT", "UNSET", true), ("PERMISSIVE", "", "STRICT", true),
        ("", "STRICT", "", true), ("", "", "STRICT", true), ("UNSET", "UNSET", "UNSET", false),
    ])
    func precedence(_ mesh: String, _ namespace: String, _ workload: String, _ isStrict: Bool) throws {
        var all: [PeerAuthenticationResource] = []
        if !mesh.isEmpty { all.append(try self.make("mtls: {mode: \(mesh)}", namespace: "nodemesh-system")) }
        if !namespace.isEmpty { all.append(try self.make("mtls: {mode: \(namespace)}")) }
        if !workload.isEmpty {
            all.append(try self.make("selector: {matchLabels: {app: web}}\nmtls: {mode: \(workload)}"))
        }
        for order in [all, all.reversed()] {
            let effective = self.effective(order)
            #expect(effective.isStrict == isStrict)
            #expect((effective.policy(rootNamespace: "nodemesh-system") != nil) == isStrict)
        }
    }

    @Test func othersDoNotCount() throws {
        #expect(!self.effective([try self.make("mtls: {mode: STRICT}", namespace: "ops")]).isStrict)
        #expect(
            !self.effective([try self.make("selector: {matchLabels: {app: api}}\nmtls: {mode: STRICT}")]).isStrict)
        #expect(
            !self.effective([
                try self.make("selector: {matchLabels: {app: web}}\nmtls: {mode: STRICT}", namespace: "nodemesh-system")
            ]).isStrict)
    }

    @Test func ofTwoTheFirstCounts() throws {
        let (strict, permissive) = (try self.make("mtls: {mode: STRICT}"), try self.make("mtls: {mode: PERMISSIVE}"))
        #expect(self.effective([strict, permissive]).isStrict)
        #expect(!self.effective([permissive, strict]).isStrict)
    }

    @Test func theRootNamespaceIsOneLevel() throws {
        let mesh = try self.make("mtls: {mode: STRICT}", namespace: "nodemesh-system")
        let effective = EffectiveMutualTLS(
            labels: [:], namespace: "nodemesh-system", rootNamespace: "nodemesh-system", resources: [mesh])
        #expect(effective.isStrict)
    }

    /// What the generated policy says of plaintext and of tunnels, by port.
    private func check(_ effective: EffectiveMutualTLS, refusesPlaintext: [UInt16: Bool]) throws {
        let policy = try #require(effective.policy(rootNamespace: "nodemesh-system"))
        let set = PolicySet([policy])
        for (port, isRefused) in refusesPlaintext {
            let destination = SocketAddress(ip: IPAddress(ipv4: 0x0a00_0002), port: port)
            let plain = PolicyInput(
                sourceIdentity: nil, sourceIP: IPAddress(ipv4: 0x0a00_0001), destination: destination)
            #expect(set.decide(plain).isAllowed == !isRefused, "port \(port)")
            #expect(effective.isStrict(port: port) == isRefused)
            var tunnel = plain
            tunnel.sourceIdentity = SPIFFEID("spiffe://mesh.internal/ns/a/sa/b")
            #expect(set.decide(tunnel).isAllowed)
        }
    }

    @Test func strictRefusesPlaintextOnEveryPort() throws {
        let effective = self.effective([try self.make("mtls: {mode: STRICT}")])
        try self.check(effective, refusesPlaintext: [80: true, 81: true])
        let id = try #require(effective.policy(rootNamespace: "nodemesh-system")?.id)
        #expect(id.description == "nodemesh-system/istio_converted_static_strict")
    }

    @Test func aPermissivePortOfAStrictWorkload() throws {
        let effective = self.effective([
            try self.make(
                """
                selector: {matchLabels: {app: web}}
                mtls: {mode: STRICT}
                portLevelMtls: {"80": {mode: PERMISSIVE}, "81": {mode: STRICT}, "82": {}}
                """)
        ])
        try self.check(effective, refusesPlaintext: [80: false, 81: true, 82: true, 83: true])
        let id = try #require(effective.policy(rootNamespace: "nodemesh-system")?.id)
        #expect(id.description == "shop/converted_peer_authentication_it")
    }

    @Test func aStrictPortOfAPermissiveWorkload() throws {
        let effective = self.effective([
            try self.make(
                "selector: {matchLabels: {app: web}}\nportLevelMtls: {80: {mode: STRICT}, 81: {mode: PERMISSIVE}}")
        ])
        try self.check(effective, refusesPlaintext: [80: true, 81: false, 82: false])
    }

    @Test func aPortThatInheritsStrictness() throws {
        let effective = self.effective([
            try self.make("mtls: {mode: STRICT}"),
            try self.make("selector: {matchLabels: {app: web}}\nportLevelMtls: {80: {mode: PERMISSIVE}}"),
        ])
        try self.check(effective, refusesPlaintext: [80: false, 81: true])
    }

    @Test func portsThatChangeNothingNeedNoPolicyOfTheirOwn() throws {
        let effective = self.effective([
            try self.make(
                "selector: {matchLabels: {app: web}}\nmtls: {mode: STRICT}\nportLevelMtls: {80: {mode: STRICT}}")
        ])
        let id = effective.policy(rootNamespace: "nodemesh-system")?.id
        #expect(id?.name == "istio_converted_static_strict")
    }

    @Test(arguments: [
        ("mtls: {mode: DISABLE}", "spec.mtls.mode", "use PERMISSIVE"),
        ("mtls: {mode: strict}", "spec.mtls.mode", "STRICT, PERMISSIVE or UNSET"),
        ("mtls: {mode: [STRICT]}", "spec.mtls.mode", "has to be text"),
        ("mtls: STRICT", "spec.mtls", "has to be an object"),
        ("mtls: {modes: STRICT}", "spec.mtls.modes", "unknown field"),
        ("portLevelMtls: {80: {mode: STRICT}}", "spec.portLevelMtls", "needs spec.selector"),
        ("selector: {matchLabels: {a: b}}\nportLevelMtls: {x: {mode: STRICT}}", "spec.portLevelMtls[x]", "a port"),
        ("selector: {matchLabels: {a: b}}\nportLevelMtls: {0: {mode: STRICT}}", "spec.portLevelMtls[0]", "a port"),
        ("selector: {matchLabels: {a: b}}\nportLevelMtls: {\"+1\": {}}", "spec.portLevelMtls[+1]", "a port"),
        (
            "selector: {matchLabels: {a: b}}\nportLevelMtls: {80: {mode: DISABLE}}", "spec.portLevelMtls[80].mode",
            "PERMISSIVE"
        ),
        ("selector: {matchLabels: {a: b}}\nportLevelMtls: []", "spec.portLevelMtls", "has to be an object"),
    ])
    func isRefused(_ spec: String, _ path: String, _ reason: String) {
        let found = problems(document("PeerAuthentication", spec: spec))
        #expect(found.contains { $0.path == path && $0.reason.contains(reason) && $0.line != nil }, "\(found)")
    }
}

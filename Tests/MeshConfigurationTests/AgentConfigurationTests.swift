// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import MeshConfiguration

@Suite struct AgentConfigurationTests {
    private static func read(
        _ text: String? = nil, flags: [(key: String, value: String)] = []
    ) throws(ConfigurationError) -> AgentConfiguration {
        try AgentConfiguration.table.read(
            ConfigurationSources(file: text.map { ("node.yaml", $0) }, flags: flags),
            base: AgentConfiguration(node: "host-1")
        ).value
    }

    @Test func aControlPlaneIsAllThatMustBeGiven() throws {
        let configuration = try Self.read(flags: [("controlPlane", "10.0.0.1:15012")])
        #expect(configuration.node == "host-1")
        #expect(configuration.controlPlane == HostPort(host: "10.0.0.1", port: 15012))
        #expect(configuration.unknownDestination == .refuse)
    }

    @Test func flagsWinOverTheFile() throws {
        let configuration = try Self.read(
            "node: a\ncontrolPlane: cp:1\nloops: 2\nlocality: eu/a/r1\nnodeAddresses: [10.0.0.1, 10.0.0.2]\n",
            flags: [("node", "b"), ("nodeAddresses", "10.0.0.3"), ("nodeAddresses", "10.0.0.4")])
        #expect(configuration.node == "b")
        #expect(configuration.loops == 2)
        #expect(configuration.locality == Locality(region: "eu", zone: "a", subzone: "r1"))
        #expect(configuration.description["locality"] == "eu/a/r1")
        #expect(configuration.nodeAddresses.map(\.description) == ["10.0.0.3", "10.0.0.4"])
    }

    @Test func everyFaultIsReportedAtOnceWithItsPlace() {
        let error = #expect(throws: ConfigurationError.self) {
            try Self.read("node: a b\nloops: many\nsurprise: 1\naccessLog: relative/path\n")
        }
        let problems = error?.problems ?? []
        #expect(problems.count == 5)
        #expect(problems.contains { $0.hasPrefix("node.yaml:1: node:") })
        #expect(problems.contains { $0.hasPrefix("node.yaml:2: loops:") && $0.contains("0 to 64") })
        #expect(problems.contains { $0.hasPrefix("node.yaml:3: surprise: unknown key") })
        #expect(problems.contains { $0.hasPrefix("node.yaml:4: accessLog:") })
        #expect(problems.contains { $0.hasPrefix("controlPlane: missing") })
    }

    @Test(
        "hostile or wrong files are refused",
        arguments: [
            "- a\n- b\n", "node: [a]\n", "node: {a: b}\n", "{", "node: a\nnode: b\n", "controlPlane: ::1:15012\n",
            "controlPlane: host\n", "controlPlane: host:0\n", "controlPlane: host:70000\n", "instance: ../x\n",
            "instance: ..\n", "caFingerprint: sha256:abc\n", "joinToken: secret\n", "dataDir: var/lib\n",
            "unknownDestination: allow\n", "logLevel: loud\n", "nodeAddresses: [999.1.1.1]\n", "loops: -1\n",
            "metricsListen: h:15021\nreadinessListen: h:15021\n", "? [a, b]\n: c\n", "locality: eu//a\n",
            "locality: ''\n", "locality: a/b/c/d\n",
        ])
    func refused(_ text: String) {
        #expect(throws: ConfigurationError.self) {
            try Self.read(text, flags: text.contains("controlPlane") ? [] : [("controlPlane", "cp:1")])
        }
    }

    @Test func flagsAreNamedAsOnTheCommandLine() {
        let error = #expect(throws: ConfigurationError.self) {
            try Self.read(flags: [("controlPlane", "nowhere"), ("nodeAddresses", "x")])
        }
        #expect(error?.problems.contains { $0.hasPrefix("--control-plane: controlPlane:") } == true)
        #expect(error?.problems.contains { $0.hasPrefix("--node-address: nodeAddresses:") } == true)
    }

    @Test func everyDocumentedKeyIsKnown() {
        for key in AgentConfiguration.table.keys.map(\.name) {
            let error = #expect(throws: ConfigurationError.self) { try Self.read("\(key): '\u{1}'\n") }
            #expect(error?.description.contains("unknown key") == false, "\(key)")
        }
    }

    @Test func howANodeSteers() throws {
        let configuration = try Self.read(
            """
            controlPlane: cp:1
            failMode: open
            excludePorts: [22, 53]
            excludePrefixes: [10.9.0.0/16, "fd00::/8"]
            excludeInboundPorts: 9100,9101
            probeCgroups: [/system.slice/kubelet.service]
            workloadsDirectory: /etc/w
            directPath: off
            redirectPeer: true
            mapSizes: {flows: 1024, workloads: 100}
            canaryInterval: 0
            """)
        #expect(configuration.failMode == .open)
        #expect(configuration.excludePorts == [22, 53])
        #expect(configuration.excludePrefixes.map(\.description) == ["10.9.0.0/16", "fd00::/8"])
        #expect(configuration.excludeInboundPorts == [9100, 9101])
        #expect(configuration.probeCgroups == ["/system.slice/kubelet.service"])
        #expect(configuration.directPath == .off)
        #expect(configuration.redirectPeer)
        #expect(configuration.description["mapSizes"] == "flows=1024,workloads=100")
        #expect(configuration.canaryInterval == 0)
        #expect(try Self.read(flags: [("controlPlane", "a:1")]).probeCgroups == nil)
        let flags = try Self.read(
            "excludePorts: [22]\n", flags: [("controlPlane", "a:1"), ("excludePorts", "80"), ("excludePorts", "81")])
        #expect(flags.excludePorts == [80, 81])
    }

    @Test(arguments: [
        "failMode: half\n", "excludePorts: [0]\n", "excludePorts: [a]\n", "excludePrefixes: [10.0.0.0/40]\n",
        "probeCgroups: [a/../b]\n", "directPath: on\n", "redirectPeer: perhaps\n", "mapSizes: {none: 100}\n",
        "mapSizes: {flows: 1}\n", "mapSizes: [flows]\n", "canaryInterval: -1\n", "workloadsDirectory: w\n",
    ])
    func wrongSteering(_ text: String) {
        #expect(throws: ConfigurationError.self) { try Self.read("controlPlane: cp:1\n" + text) }
    }
}

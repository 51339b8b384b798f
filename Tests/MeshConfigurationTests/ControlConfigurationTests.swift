// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@testable import MeshConfiguration

@Suite struct ControlConfigurationTests {
    private func read(
        _ text: String?, _ flags: [(key: String, value: String)] = []
    ) throws -> ControlConfiguration {
        try ControlConfiguration.table.read(
            ConfigurationSources(file: text.map { ("control.yaml", $0) }, flags: flags)
        ).value
    }

    @Test(arguments: [nil, "", "# only a comment\n", "{}"])
    func defaultsHoldWithoutASetting(_ text: String?) throws {
        #expect(try self.read(text) == ControlConfiguration())
    }

    @Test func everyKeyIsRead() throws {
        let configuration = try self.read(
            """
            dataDir: /srv/control
            grpcListen: 10.0.0.1:1
            apiListen: "[::1]:2"
            metricsListen: 127.0.0.1:3
            advertise: [control.example.org:15012, 10.0.0.1:15012]
            meshPrefixes: [10.0.0.0/8, fd00::/8]
            trustDomain: example.org
            nodeTimeout: 10
            svidTtl: 600
            logLevel: debug
            """)
        #expect(configuration.dataDirectory == "/srv/control")
        #expect(configuration.grpcListen.description == "10.0.0.1:1")
        #expect(configuration.apiListen.description == "[::1]:2")
        #expect(configuration.metricsListen.port == 3)
        #expect(configuration.advertise.map(\.description) == ["control.example.org:15012", "10.0.0.1:15012"])
        #expect(configuration.meshPrefixes.map(\.description) == ["10.0.0.0/8", "fd00::/8"])
        #expect(configuration.trustDomain == "example.org")
        #expect(configuration.nodeTimeout == 10)
        #expect(configuration.svidTTL == 600)
        #expect(configuration.logLevel == .debug)
    }

    @Test func flagsWinAndReplaceLists() throws {
        let configuration = try self.read(
            "advertise: [a:1, b:2]\nnodeTimeout: 10",
            [("advertise", "c:3"), ("advertise", "d:4"), ("nodeTimeout", "20")])
        #expect(configuration.advertise.map(\.host) == ["c", "d"])
        #expect(configuration.nodeTimeout == 20)
    }

    @Test func allFaultsAreReportedAtOnceWithTheirPlace() throws {
        let error = #expect(throws: ConfigurationError.self) {
            try self.read(
                "nodeTimeout: soon\nunheardOf: 1\ntrustDomain: Upper\nmeshPrefixes: [127.0.0.0/8]",
                [("logLevel", "loud"), ("meshPrefixes", "0.0.0.0/0")])
        }
        let problems = try #require(error).problems
        #expect(problems.count == 6)
        #expect(problems.contains { $0.hasPrefix("control.yaml:1: nodeTimeout") })
        #expect(problems.contains { $0.hasPrefix("control.yaml:2: unheardOf: unknown key") })
        #expect(problems.contains { $0.hasPrefix("--log-level: logLevel") })
        #expect(problems.contains { $0.hasPrefix("--mesh-prefix: meshPrefixes: '0.0.0.0/0'") })
    }

    @Test(arguments: [
        "[1, 2]", "text", "a: [", "nodeTimeout: {a: 1}", "nodeTimeout: 1\nnodeTimeout: 2", "dataDir: relative",
        "grpcListen: localhost:1", "grpcListen: 0.0.0.0:0", "advertise: nowhere", "advertise: [a b:1]",
        "advertise: [-x:1]", "svidTtl: 1", "svidTtl: 1e9", "meshPrefixes: [10.0.0.0/33]", "meshPrefixes: [\"::/0\"]",
        "apiListen: 127.0.0.1:15012", "? [complex]\n: 1",
    ])
    func nonsenseIsRefused(_ text: String) {
        #expect(throws: ConfigurationError.self) { try self.read(text) }
    }
}

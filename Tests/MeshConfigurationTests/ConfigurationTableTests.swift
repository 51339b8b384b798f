// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import MeshConfiguration

/// What holds for every key of both daemons, and the order of the sources.
@Suite struct ConfigurationTableTests {
    private let table = AgentConfiguration.table

    private func read(
        file: String? = nil, environment: [String: String] = [:], flags: [(key: String, value: String)] = []
    ) throws(ConfigurationError) -> ConfigurationReading<AgentConfiguration> {
        try self.table.read(
            ConfigurationSources(
                file: file.map { ("f.yaml", "controlPlane: cp:1\n" + $0) }, environment: environment, flags: flags))
    }

    @Test func flagsWinOverTheEnvironmentWhichWinsOverTheFile() throws {
        let file = "logLevel: error\nloops: 1\nexcludePorts: [1, 2]\nengine: user\n"
        let environment = ["NODEMESHD_LOG_LEVEL": "warning", "NODEMESHD_LOOPS": "2", "NODEMESHD_EXCLUDE_PORTS": "3, 4"]
        let reading = try self.read(file: file, environment: environment, flags: [("loops", "3")])
        #expect(reading.value.loops == 3)
        #expect(reading.origin(of: "loops") == .flag("--loops"))
        #expect(reading.value.logLevel == .warning)
        #expect(reading.origin(of: "logLevel") == .environment(variable: "NODEMESHD_LOG_LEVEL"))
        #expect(reading.value.excludePorts == [3, 4])
        #expect(reading.value.engine == .user)
        #expect(reading.origin(of: "engine") == .file(name: "f.yaml", line: 5))
        #expect(reading.origin(of: "failMode") == .defaultValue)
        let set = try self.read(file: file, environment: environment, flags: [("excludePorts", "5")])
        #expect(set.value.excludePorts == [5])
        #expect(set.origin(of: "excludePorts").description == "--set excludePorts")
    }

    @Test func faultsOfEverySourceComeTogether() throws {
        let error = #expect(throws: ConfigurationError.self) {
            try self.read(
                file: "loops: many\nlogLvel: info\n",
                environment: ["NODEMESHD_LOG_LEVEL": "loud", "NODEMESHD_LOGLEVEL": "info", "NODEMESH_LAB": "x"],
                flags: [("engine", "steam"), ("failmode", "open")])
        }
        let problems = try #require(error).problems
        #expect(
            problems == [
                "f.yaml:2: loops: 'many' is not a whole number from 0 to 64",
                "f.yaml:3: logLvel: unknown key; did you mean logLevel?",
                "NODEMESHD_LOGLEVEL: sets no key; did you mean NODEMESHD_LOG_LEVEL?",
                "NODEMESHD_LOG_LEVEL: logLevel: 'loud' is not one of trace, debug, info, notice, warning, error",
                "--engine: engine: 'steam' is not one of automatic, user, kernel",
                "--set failmode: failmode: unknown key; did you mean failMode?",
            ])
    }

    @Test func anEmptyVariableIsNotSet() throws {
        #expect(try self.read(file: "loops: 2\n", environment: ["NODEMESHD_LOOPS": ""]).value.loops == 2)
    }

    @Test func aFaultySecretIsNotShown() throws {
        let error = #expect(throws: ConfigurationError.self) { try self.read(file: "joinToken: hunter2\n") }
        #expect(try #require(error).description.contains("joinToken: the value (not shown) is not a join token"))
        #expect(try #require(error).description.contains("hunter2") == false)
        let reading = try self.read(file: "joinToken: nmjt.a.hunter2\n")
        #expect(self.table.description(of: reading.value)["joinToken"] == "(redacted)")
    }

    @Test func aVariableOfNodemeshctlIsNoneOfTheControlPlanes() throws {
        let environment = ["NODEMESH_CONTROL_PLANE": "http://127.0.0.1:1", "NODEMESH_CONTROL_NODE_TIMEOUT": "9"]
        let reading = try ControlConfiguration.table.read(ConfigurationSources(environment: environment))
        #expect(reading.value.nodeTimeout == 9)
    }

    @Test func namesAreUniqueAndEveryKeyIsExplained() {
        self.checkNames(AgentConfiguration.table)
        self.checkNames(ControlConfiguration.table)
    }

    private func checkNames<Configuration>(_ table: ConfigurationTable<Configuration>) {
        let keys = table.keys
        #expect(Set(keys.map(\.name)).count == keys.count)
        #expect(Set(keys.map { table.variable(of: $0) }).count == keys.count)
        #expect(Set(keys.compactMap(\.flag)).count == keys.compactMap(\.flag).count)
        #expect(Set(keys.map { table.variable(of: $0) }).isDisjoint(with: table.otherVariables))
        for key in keys {
            #expect(!key.help.isEmpty && !key.help.hasSuffix("."), "\(key.name)")
            #expect(!key.help.contains("|"), "\(key.name)")
        }
    }

    /// Each default, written as in the file, reads back as itself.
    @Test func theDefaultFileSaysTheDefaults() throws {
        let uncommented = AgentConfiguration.table.defaultFile.split(separator: "\n").compactMap { line in
            line.hasPrefix("#") && !line.hasPrefix("# ") && !line.hasPrefix("##") ? line.dropFirst() : nil
        }
        let valued = uncommented.filter { !$0.hasSuffix(":") && !$0.hasPrefix("probeCgroups:") }.joined(separator: "\n")
        #expect(uncommented.count == self.table.keys.count)
        var expected = AgentConfiguration(node: "localhost")
        expected.controlPlane = HostPort(host: "cp", port: 1)
        // What has no known locality and no place in a file.
        let text = valued.split(separator: "\n").filter { !$0.hasPrefix("locality:") }.joined(separator: "\n")
        #expect(try self.read(file: text).value == expected)
        #expect(
            try self.table.read(.init(file: ("d", self.table.defaultFile), flags: [("controlPlane", "cp:1")])).value
                == expected)
    }

    /// `NODEMESH_UPDATE_SNAPSHOTS=1 swift test` rewrites them.
    @Test(arguments: [
        ("docs/configuration.md", ConfigurationReference.document),
        ("packaging/nodemeshd.yaml", AgentConfiguration.table.defaultFile),
        ("packaging/nodemesh-control.yaml", ControlConfiguration.table.defaultFile),
    ])
    func generatedFilesAreTrue(path: String, text: String) throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let file = root.appending(path: path)
        if ProcessInfo.processInfo.environment["NODEMESH_UPDATE_SNAPSHOTS"] != nil {
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        #expect(try String(contentsOf: file, encoding: .utf8) == text)
    }
}

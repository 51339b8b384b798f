// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAgent

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the daemon (the default).",
        discussion: """
            Every option can also stand in the configuration file, in camel case and without dashes \
            (--control-plane is controlPlane); options win over the file.
            """)

    @Option(
        name: .customLong("config"), help: "YAML configuration file (default: /etc/nodemesh/nodemeshd.yaml if there).")
    var configurationFile: String?

    @Option(help: "This node's name in the mesh (default: the host name).")
    var node: String?

    @Option(help: "HOST:PORT of the control plane's node listener.")
    var controlPlane: String?

    @Option(help: "sha256:<hex> of the control plane's root certificate; needed to join.")
    var caFingerprint: String?

    @Option(help: "Single-use token; needed to join. Visible in the process list: prefer --join-token-file.")
    var joinToken: String?

    @Option(help: "File that holds the single-use token.")
    var joinTokenFile: String?

    @Option(help: "Directory of keys, certificates and enrolments (default: /var/lib/nodemesh).")
    var dataDir: String?

    @Option(help: "Directory of the admin socket (default: /run/nodemesh).")
    var runDir: String?

    @Option(help: "Separates the kernel state of several daemons on one host (default: default).")
    var instance: String?

    @Option(
        help:
            "Address on which peers reach this node's tunnels; repeatable (default: the one that routes to the control plane)."
    )
    var nodeAddress: [String] = []

    @Option(help: "Where this node is: REGION, REGION/ZONE or REGION/ZONE/SUBZONE (default: not known).")
    var locality: String?

    @Option(help: "Event loops; 0 is one per processor, at most four (default: 0).")
    var loops: String?

    @Option(help: "automatic, user or kernel: what seals and opens the records of tunnels (default: automatic).")
    var engine: String?

    @Option(help: "refuse or passthrough: what happens to a captured connection nothing declares (default: refuse).")
    var unknownDestination: String?

    @Option(help: "File for one JSON line per connection, or - for standard output (default: none).")
    var accessLog: String?

    @Option(help: "trace, debug, info, notice, warning or error (default: info).")
    var logLevel: String?

    @Option(name: .customLong("set"), help: "KEY=VALUE: any key of the configuration file; repeatable.")
    var settings: [String] = []

    private static let defaultFile = "/etc/nodemesh/nodemeshd.yaml"

    func run() async throws {
        let configuration: AgentConfiguration
        do throws(ConfigurationError) {
            configuration = try self.readConfiguration()
        } catch {
            for problem in error.problems { Console.error("nodemeshd: \(problem)") }
            throw ExitCode(2)
        }
        do throws(AgentError) {
            let serve = self
            try await Agent(
                configuration: configuration,
                reread: { () throws(ConfigurationError) in try serve.readConfiguration() }
            ).run()
        } catch {
            Console.error("nodemeshd: \(error)")
            throw ExitCode(1)
        }
    }

    private func readConfiguration() throws(ConfigurationError) -> AgentConfiguration {
        try ConfigurationReader.read(
            file: try self.file(), flags: try self.flags(), hostName: ProcessInfo.processInfo.hostName)
    }

    private func file() throws(ConfigurationError) -> (name: String, text: String)? {
        if self.configurationFile == nil, !FileManager.default.fileExists(atPath: Self.defaultFile) { return nil }
        let name = self.configurationFile ?? Self.defaultFile
        do {
            return (name, try String(contentsOfFile: name, encoding: .utf8))
        } catch {
            throw ConfigurationError(problems: ["\(name): cannot be read: \(error.localizedDescription)"])
        }
    }

    private func flags() throws(ConfigurationError) -> [(key: String, value: String)] {
        var flags: [(key: String, value: String)] = []
        let single: [(String, String?)] = [
            ("node", self.node), ("controlPlane", self.controlPlane), ("caFingerprint", self.caFingerprint),
            ("joinToken", try self.token()), ("dataDir", self.dataDir), ("runDir", self.runDir),
            ("instance", self.instance), ("locality", self.locality), ("loops", self.loops),
            ("engine", self.engine),
            ("unknownDestination", self.unknownDestination), ("accessLog", self.accessLog), ("logLevel", self.logLevel),
        ]
        for (key, value) in single {
            if let value { flags.append((key, value)) }
        }
        for setting in self.settings {
            guard let equals = setting.firstIndex(of: "=") else {
                throw ConfigurationError(problems: ["--set \(setting): give KEY=VALUE"])
            }
            flags.append((String(setting[..<equals]), String(setting[setting.index(after: equals)...])))
        }
        return flags + self.nodeAddress.map { ("nodeAddresses", $0) }
    }

    private func token() throws(ConfigurationError) -> String? {
        guard let path = self.joinTokenFile else { return self.joinToken }
        if self.joinToken != nil {
            throw ConfigurationError(problems: ["--join-token and --join-token-file: give one of them"])
        }
        do {
            return try String(contentsOfFile: path, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
        } catch {
            throw ConfigurationError(problems: [
                "--join-token-file: \(path) cannot be read: \(error.localizedDescription)"
            ])
        }
    }
}

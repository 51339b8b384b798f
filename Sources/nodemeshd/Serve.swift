// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAgent
import MeshConfiguration

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the daemon (the default).",
        discussion: """
            Every option can also stand in the configuration file, in camel case and without dashes \
            (--control-plane is controlPlane), and in the environment (NODEMESHD_CONTROL_PLANE). Options win over the \
            environment, which wins over the file. 'nodemeshctl config default' prints a file with every key.
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

    @Flag(
        help: """
            Take over from the nodemeshd that runs with the same run directory, with all its connections; it ends then. \
            Without one this is a start like any other.
            """)
    var takeOver = false

    func run() async throws {
        let live: LiveConfiguration<AgentConfiguration>
        do throws(ConfigurationError) {
            let serve = self
            live = try LiveConfiguration(AgentConfiguration.table) { () throws(ConfigurationError) in
                try serve.readConfiguration()
            }
        } catch {
            for problem in error.problems { Console.error("nodemeshd: \(problem)") }
            throw ExitCode(2)
        }
        do throws(AgentError) {
            try await Agent(live).run(takesOver: self.takeOver)
        } catch {
            Console.error("nodemeshd: \(error)")
            // Its service manager starts it again at once, for the sake of one that was killed; what is wrong here will
            // be wrong then as well.
            if !self.takeOver, isatty(STDERR_FILENO) == 0 { try? await Task.sleep(for: .seconds(2)) }
            throw ExitCode(1)
        }
    }

    private func readConfiguration() throws(ConfigurationError) -> ConfigurationReading<AgentConfiguration> {
        let table = AgentConfiguration.table
        var sources = ConfigurationSources(environment: ProcessInfo.processInfo.environment, flags: self.flags())
        sources.readFile(named: self.configurationFile, usual: table.file)
        self.addToken(to: &sources)
        sources.set(self.settings)
        return try table.read(sources, base: AgentConfiguration(node: ProcessInfo.processInfo.hostName))
    }

    private func flags() -> [(key: String, value: String)] {
        let single: [(String, String?)] = [
            ("node", self.node), ("controlPlane", self.controlPlane), ("caFingerprint", self.caFingerprint),
            ("joinToken", self.joinToken), ("dataDir", self.dataDir), ("runDir", self.runDir),
            ("instance", self.instance), ("locality", self.locality), ("loops", self.loops),
            ("engine", self.engine),
            ("unknownDestination", self.unknownDestination), ("accessLog", self.accessLog), ("logLevel", self.logLevel),
        ]
        return single.compactMap { key, value in value.map { (key: key, value: $0) } }
            + self.nodeAddress.map { (key: "nodeAddresses", value: $0) }
    }

    private func addToken(to sources: inout ConfigurationSources) {
        guard let path = self.joinTokenFile else { return }
        if self.joinToken != nil {
            return sources.problems.append("--join-token and --join-token-file: give one of them")
        }
        do {
            let token = try String(contentsOfFile: path, encoding: .utf8)
            sources.flags.append(("joinToken", token.trimmingCharacters(in: .whitespacesAndNewlines)))
        } catch {
            sources.problems.append("--join-token-file: \(path) cannot be read: \(error.localizedDescription)")
        }
    }
}

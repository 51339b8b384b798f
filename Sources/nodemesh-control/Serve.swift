// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Logging
import MeshConfiguration
import MeshControl
import MeshTelemetry

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the control plane (the default).",
        discussion: """
            Every option can also stand in the configuration file, in camel case and without dashes (--data-dir is \
            dataDir; the lists are advertise and meshPrefixes), and in the environment (NODEMESH_CONTROL_DATA_DIR). \
            Options win over the environment, which wins over the file. 'nodemeshctl config default --daemon \
            nodemesh-control' prints a file with every key.
            """)

    @Option(
        name: .customLong("config"),
        help: "YAML configuration file (default: /etc/nodemesh/nodemesh-control.yaml if there).")
    var configurationFile: String?

    @Option(help: "Directory of the store, the authority and the admin token (default: /var/lib/nodemesh-control).")
    var dataDir: String?

    @Option(help: "IP:PORT for nodes (default: 0.0.0.0:15012).")
    var grpcListen: String?

    @Option(help: "IP:PORT for operators; TLS unless on loopback (default: 127.0.0.1:15080).")
    var apiListen: String?

    @Option(help: "IP:PORT for Prometheus (default: 127.0.0.1:15014).")
    var metricsListen: String?

    @Option(help: "HOST:PORT that nodes dial; repeatable (default: the host name and the port of --grpc-listen).")
    var advertise: [String] = []

    @Option(help: "CIDR that nodes capture beside the virtual addresses; repeatable.")
    var meshPrefix: [String] = []

    @Option(help: "Trust domain of every identity; fixed at the first start (default: mesh.internal).")
    var trustDomain: String?

    @Option(help: "Seconds without a heartbeat until a node's workloads count as unhealthy (default: 30).")
    var nodeTimeout: String?

    @Option(help: "Seconds that certificates are valid (default: 86400).")
    var svidTtl: String?

    @Option(help: "trace, debug, info, notice, warning or error (default: info).")
    var logLevel: String?

    @Option(name: .customLong("set"), help: "KEY=VALUE: any key of the configuration file; repeatable.")
    var settings: [String] = []

    func run() async throws {
        let live: LiveConfiguration<ControlConfiguration>
        do throws(ConfigurationError) {
            let serve = self
            live = try LiveConfiguration(ControlConfiguration.table) { () throws(ConfigurationError) in
                try serve.readConfiguration()
            }
        } catch {
            for problem in error.problems { Console.error("nodemesh-control: \(problem)") }
            throw ExitCode(2)
        }
        let configuration = live.current
        let logs = LogLevels(configuration.logLevel.loggerLevel)
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        let logger = logs.logger(label: "nodemesh-control")
        do {
            try await ControlPlane(live, logs: logs, logger: logger).run()
        } catch {
            Console.error("nodemesh-control: \(ControlPlane.explain(error))")
            throw ExitCode(1)
        }
    }

    private func readConfiguration() throws(ConfigurationError) -> ConfigurationReading<ControlConfiguration> {
        let table = ControlConfiguration.table
        var sources = ConfigurationSources(environment: ProcessInfo.processInfo.environment, flags: self.flags())
        sources.readFile(named: self.configurationFile, usual: table.file)
        sources.set(self.settings)
        return try table.read(sources)
    }

    private func flags() -> [(key: String, value: String)] {
        let single: [(String, String?)] = [
            ("dataDir", self.dataDir), ("grpcListen", self.grpcListen), ("apiListen", self.apiListen),
            ("metricsListen", self.metricsListen), ("trustDomain", self.trustDomain),
            ("nodeTimeout", self.nodeTimeout), ("svidTtl", self.svidTtl), ("logLevel", self.logLevel),
        ]
        return single.compactMap { key, value in value.map { (key: key, value: $0) } }
            + self.advertise.map { (key: "advertise", value: $0) }
            + self.meshPrefix.map { (key: "meshPrefixes", value: $0) }
    }
}

/// Plain lines for the person who started the program.
private enum Console {
    static func error(_ line: String) { FileHandle.standardError.write(Data("\(line)\n".utf8)) }
}

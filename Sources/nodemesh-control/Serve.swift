// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Logging
import MeshControl

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the control plane (the default).",
        discussion: """
            Every option can also stand in the configuration file, in camel case and without dashes (--data-dir is \
            dataDir; the lists are advertise and meshPrefixes); options win over the file.
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

    private static let defaultFile = "/etc/nodemesh/nodemesh-control.yaml"

    func run() async throws {
        let configuration = try self.readConfiguration()
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        var logger = Logger(label: "nodemesh-control")
        logger.logLevel = Logger.Level(rawValue: configuration.logLevel.rawValue) ?? .info
        do {
            try await ControlPlane(configuration, logger: logger).run()
        } catch {
            Console.error("nodemesh-control: \(ControlPlane.explain(error))")
            throw ExitCode(1)
        }
    }

    private func readConfiguration() throws -> ControlConfiguration {
        var (problems, file) = ([String](), (name: String, text: String)?.none)
        do { file = try self.file() } catch { problems = error.problems }
        do {
            let configuration = try ControlConfigurationReader.read(file: file, flags: self.flags())
            if problems.isEmpty { return configuration }
        } catch {
            problems += error.problems
        }
        for problem in problems { Console.error("nodemesh-control: \(problem)") }
        throw ExitCode(2)
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

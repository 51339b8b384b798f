// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAgent
import MeshConfiguration

struct Join: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Exchange a join token for the node's certificate, and end.",
        discussion: """
            `nodemeshctl install-node` does this and everything else that a host run by systemd needs. Takes controlPlane, \
            caFingerprint, node and dataDir from the configuration file. On a node that has joined the same mesh already \
            it does nothing.

            EXIT STATUS
              0  the node has its certificate
              1  the control plane did not answer, or the certificate cannot be kept
              2  the configuration is wrong
              3  the control plane refused, or is not the one with that fingerprint
            """)

    @Option(
        name: .customLong("config"), help: "YAML configuration file (default: /etc/nodemesh/nodemeshd.yaml if there).")
    var configurationFile: String?

    @Option(help: "File that holds the single-use token.")
    var joinTokenFile: String

    func run() async throws {
        let configuration: AgentConfiguration
        do throws(ConfigurationError) {
            configuration = try self.readConfiguration()
        } catch {
            for problem in error.problems { Console.error("nodemeshd: \(problem)") }
            throw ExitCode(2)
        }
        do throws(ControlPlaneError) {
            Console.error("nodemeshd: this node is \(try await NodeJoin.once(configuration))")
        } catch {
            Console.error("nodemeshd: \(error)")
            let isFinal: Bool =
                switch error.code {
                case .alreadyJoined, .notJoined, .tokenRefused, .expired, .untrustedServer, .refused, .rolledBack: true
                case .unreachable, .badAnswer, .storage: false
                }
            throw ExitCode(isFinal ? 3 : 1)
        }
    }

    private func readConfiguration() throws(ConfigurationError) -> AgentConfiguration {
        let table = AgentConfiguration.table
        var sources = ConfigurationSources(environment: ProcessInfo.processInfo.environment)
        sources.readFile(named: self.configurationFile, usual: table.file)
        do {
            let token = try String(contentsOfFile: self.joinTokenFile, encoding: .utf8)
            sources.flags.append(("joinToken", token.trimmingCharacters(in: .whitespacesAndNewlines)))
        } catch {
            sources.problems.append(
                "--join-token-file: \(self.joinTokenFile) cannot be read: \(error.localizedDescription)")
        }
        return try table.read(sources, base: AgentConfiguration(node: ProcessInfo.processInfo.hostName)).value
    }
}

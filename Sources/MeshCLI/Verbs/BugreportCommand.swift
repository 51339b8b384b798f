// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import Glibc
import MeshAdminAPI
import MeshModel

/// `bugreport`
package struct BugreportCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "bugreport",
        abstract: "Write one archive with everything that helps to find a fault on this node.",
        discussion: """
            State, configuration, connections, events, metrics, eBPF programs and how full maps are, log lines, unit \
            states, and the control plane's view, as a tar.gz that only its owner may read. Tokens, private keys and \
            session keys are taken out; addresses, names and identities are not. What does not answer is listed in \
            report.txt, so a dead daemon is no obstacle. Exits 0 when the archive is written.
            """)

    @Option(
        help: ArgumentHelp(
            "The file to write; one that exists is refused. (default: nodemesh-bugreport-HOST-TIME.tar.gz here)"),
        completion: .file())
    package var file: String?

    @Option(
        help: ArgumentHelp("How far back the log of the units goes, such as 2h. (default: 24h)", valueName: "duration"),
        transform: Values.duration)
    package var since: Int?

    @OptionGroup(title: "Node") package var node: NodeOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    /// The node's answers, by the names they get in the archive.
    private static let nodeTargets = [
        ("status.json", "/v1/status"), ("config.json", "/v1/config"), ("workloads.json", "/v1/workloads"),
        ("templates.json", "/v1/templates"), ("connections.json", "/v1/connections"),
        ("uncaptured.json", "/v1/connections/uncaptured"), ("services.json", "/v1/services"),
        ("certificates.json", "/v1/certificates"), ("events.ndjson", "/v1/events"), ("bpf.json", "/v1/bpf"),
        ("usage.json", "/v1/usage"), ("metrics.txt", "/v1/metrics"), ("log-levels.json", "/v1/logs/levels"),
        ("log-lines.json", "/v1/logs/lines"),
    ]
    private static let controlTargets = [
        ("status.json", "/v1/status"), ("config.json", "/v1/config"), ("nodes.json", "/v1/nodes"),
        ("workloads.json", "/v1/workloads"), ("services.json", "/v1/services"),
        ("certificates.json", "/v1/certificates"), ("log-levels.json", "/v1/logs/levels"),
        ("log-lines.json", "/v1/logs/lines"),
    ]

    package func run() async throws {
        let context = CLIContext.current
        let date = context.now()
        let host = ProcessInfo.processInfo.hostName
        let stamp = date.formatted(.iso8601).filter { $0.isNumber || $0 == "T" || $0 == "Z" }
        let directory =
            "nodemesh-bugreport-\(host.prefix(40).filter { $0.isLetter || $0.isNumber || $0 == "-" })-\(stamp)"
        let path = self.file ?? "\(directory).tar.gz"
        // Before the work: a name that cannot be written is known at once.
        let descriptor = try Self.create(path)
        defer { close(descriptor) }

        let nodeClient = self.node.client
        let controlClient = Result { () throws(CLIError) in try self.controlPlane.client() }
        var known: [String] = []
        if case .success(let client) = controlClient, case .control(_, .text(let token, _), _) = client.endpoint {
            known.append(token)
        }
        var report = BugReport(redactor: Redactor(known: known))
        let node = await Self.collect(from: nodeClient, Self.nodeTargets, below: "node", into: &report)
        switch controlClient {
        case .success(let client):
            // Its configuration file is on its own host, which need not be this one.
            _ = await Self.collect(from: client, Self.controlTargets, below: "control", into: &report)
        case .failure(let error): report.miss("control", error.message)
        }
        let kernel = (try? AdminJSON.encoder.encode(context.probeKernel())) ?? Data()
        report.add("system/kernel-features.json", JSONText.indented(kernel))
        HostReport(since: self.since ?? 86_400).add(to: &report, pid: node.pid, configuration: node.configuration)

        let head = [
            "nodemesh bug report", "made: \(Human.date(date))", "host: \(host)", "nodemeshctl: \(Version.text)",
            "node: \(nodeClient.endpoint.name)",
            "log of the units: the last \(Human.duration(Double(self.since ?? 86_400)))",
        ]
        let archive = try report.archive(directory: directory, head: head, at: date)
        try Self.write(archive, to: descriptor, path)
        for line in report.missing { context.console.writeError("missing: \(Printable.text(line))\n") }
        try context.console.write("\(path)\n")
    }

    /// - Returns: the daemon's process and the file it read, when it said.
    private static func collect(
        from client: APIClient, _ targets: [(String, String)], below directory: String, into report: inout BugReport
    ) async -> (pid: Int32?, configuration: String?) {
        var found: (pid: Int32?, configuration: String?)
        for (name, target) in targets {
            do throws(CLIError) {
                let body = try await client.get(target)
                if name == "usage.json" { found.pid = try? client.decode(UsageSummary.self, from: body).pid }
                if name == "config.json" {
                    found.configuration = try? client.decode(ConfigurationSummary.self, from: body).file
                }
                let text = name.hasSuffix(".json") ? JSONText.indented(body) : String(decoding: body, as: UTF8.self)
                report.add("\(directory)/\(name)", text)
            } catch {
                report.miss("\(directory)/\(name)", error.message)
                // Nobody is there: the rest would only wait.
                if error.status == .unreachable {
                    report.miss(directory, "the rest was not asked for")
                    break
                }
            }
        }
        return found
    }

    private static func create(_ path: String) throws(CLIError) -> CInt {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        let code = errno
        guard descriptor >= 0 else {
            throw CLIError(
                "cannot write \(path): \(String(cString: strerror(code)))", hints: ["Give another place: --file PATH"])
        }
        return descriptor
    }

    private static func write(_ data: Data, to descriptor: CInt, _ path: String) throws(CLIError) {
        var rest = data[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            let code = errno
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if count == 0 || code != EINTR {
                throw CLIError("cannot write \(path): \(String(cString: strerror(code)))")
            }
        }
    }
}

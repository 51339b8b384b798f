// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAdminAPI
import MeshModel

/// `workload enroll`
package struct WorkloadEnroll: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "enroll",
        abstract: "Bring a workload of this node into the mesh.",
        discussion: """
            Works while the workload runs; open connections are left alone, new ones are captured. To change \
            what is said here, unenroll it first.

            EXAMPLES
              nodemeshctl workload enroll --pid 4711 --name web --label app=web
              nodemeshctl workload enroll --namespace shop --name cart \\
                --service-account cart --cgroup system.slice/cart.service
            """,
        aliases: ["enrol"])

    @Option(
        help: ArgumentHelp(
            "Its cgroup v2 directory, absolute or below the cgroup mount. (required, or --pid)", valueName: "path"),
        completion: .directory)
    package var cgroup: String?

    @Option(help: ArgumentHelp("A process in it: its cgroup is enrolled. (required, or --cgroup)", valueName: "pid"))
    package var pid: Int32?

    @Option(help: "Its namespace. (default: default)", transform: Values.label)
    package var namespace: String = "default"

    @Option(help: "Its name, unique in the namespace. (required)", transform: Values.label)
    package var name: String

    @Option(help: "The service account: the last part of its identity. (default: default)", transform: Values.label)
    package var serviceAccount: String = "default"

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp(
            "A label that services and policies select by; repeat it. (default: none)", valueName: "key=value"),
        transform: Values.keyValue)
    package var label: [Values.Pair] = []

    @Option(
        help: ArgumentHelp(
            "Its network namespace, such as /run/netns/web. (default: that of the cgroup's processes)",
            valueName: "path"),
        completion: .file())
    package var networkNamespace: String?

    @Option(
        help: ArgumentHelp(
            "An address it is reached at; repeat it. (default: every global address of its network namespace)",
            valueName: "ip"),
        transform: Values.address)
    package var address: [IPAddress] = []

    @Option(
        help: "Its share of the connections to the services it backs, from 1 to 1000000. (default: 1)",
        transform: Values.weight)
    package var weight: Int?

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Node") package var node: NodeOptions

    package init() {}

    package func validate() throws {
        guard (self.cgroup == nil) != (self.pid == nil) else {
            throw ValidationError("Say which processes: either --cgroup PATH or --pid PID.")
        }
        if let pid = self.pid, pid <= 0 { throw ValidationError("--pid wants a process number.") }
        if let path = self.networkNamespace, !path.hasPrefix("/") {
            throw ValidationError("--network-namespace wants an absolute path, such as /run/netns/web.")
        }
        guard Set(self.label.map(\.key)).count == self.label.count else {
            throw ValidationError("A label is given twice.")
        }
    }

    package func run() async throws {
        let cgroup = try self.pid.map { try CgroupPath.of(pid: $0) } ?? CgroupPath.resolve(self.cgroup ?? "")
        let request = EnrolRequest(
            namespace: self.namespace, name: self.name, serviceAccount: self.serviceAccount,
            labels: Dictionary(self.label.map { ($0.key, $0.value) }, uniquingKeysWith: { _, last in last }),
            cgroup: cgroup, networkNamespace: self.networkNamespace,
            addresses: self.address.isEmpty ? nil : self.address.map(\.description), weight: self.weight)
        let client = self.node.client
        let body = try await client.send(
            APIRequest(.post, "/v1/workloads", body: client.encode(request), contentType: "application/json"))
        let workload = try client.decode(EnrolledWorkload.self, from: body)
        let printer = Printer(self.output)
        try printer.print(body) { printer.text(of: Table([workload], at: printer.now), empty: "") }
        if workload.state == "refused" {
            throw CLIError("the enrolment was refused: \(workload.reason ?? "no reason given")")
        }
    }
}

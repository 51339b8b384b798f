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
            what is said here, unenroll it first. A unit's enrolment outlives the unit's restarts; what is found by \
            a process, container or pod is forgotten when its cgroup goes.

            With --template every child of the cgroup becomes a workload as it appears. Its name, namespace, service \
            account and labels may hold $capture, a named part of its directory's name. Until a child is enrolled, \
            and if the pattern does not match, it is refused connections into the mesh, unless --no-guard is given.

            EXAMPLES
              nodemeshctl workload enroll --unit redis.service --label app=redis
              nodemeshctl workload enroll --pid 4711 --name web --label app=web
              nodemeshctl workload enroll --namespace shop --name cart \
                --service-account cart --cgroup system.slice/cart.service
              nodemeshctl workload enroll --template --cgroup apps.slice \
                --name-pattern 'app-(?<name>.+)\\.service' --label 'app=$name'
            """,
        aliases: ["enrol"])

    @OptionGroup(title: "Which processes") package var target: TargetOptions

    @Flag(help: "Enrol each child of the cgroup as a workload of its own. (default: the cgroup is one workload)")
    package var template = false

    @Option(
        help: ArgumentHelp(
            "With --template: what a child's directory must be called, as a whole, with (?<name>...) for parts. "
                + "(default: (?<name>.+))", valueName: "regex"))
    package var namePattern: String?

    @Option(
        help: ArgumentHelp(
            "With --template: what the template is called on this node. (default: the cgroup's last name)",
            valueName: "name"), transform: Values.label)
    package var templateName: String?

    @Flag(help: "With --template: do not refuse children that are not enrolled. (default: they are refused)")
    package var noGuard = false

    @Option(help: "Its namespace. (default: default; with --template $namespace if the pattern has it)")
    package var namespace: String?

    @Option(
        help: "Its name, unique in the namespace. (required, except: default the unit's name, with --template $name)")
    package var name: String?

    @Option(
        help: "The service account: the last part of its identity. (default: default; with --template $serviceAccount)")
    package var serviceAccount: String?

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

    @Option(
        help: ArgumentHelp(
            "What becomes of the enrolment when the cgroup goes: wait for its return, or forget. (default: wait for "
                + "a unit, else forget)", valueName: "wait|forget"))
    package var whenGone: WhenGone?

    @OptionGroup(title: "Steering") package var steering: SteeringOptions
    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Node") package var node: NodeOptions

    package init() {}

    package func validate() throws {
        try self.target.check()
        if let path = self.networkNamespace, !path.hasPrefix("/") {
            throw ValidationError("--network-namespace wants an absolute path, such as /run/netns/web.")
        }
        guard Set(self.label.map(\.key)).count == self.label.count else {
            throw ValidationError("A label is given twice.")
        }
        if self.template {
            guard self.target.cgroup != nil || self.target.unit != nil else {
                throw ValidationError("--template wants the parent of the workloads: --cgroup PATH or --unit SLICE.")
            }
            guard self.networkNamespace == nil, self.address.isEmpty, self.whenGone == nil else {
                throw ValidationError(
                    "--network-namespace, --address and --when-gone are of one workload, not of a template's children.")
            }
        } else {
            guard self.namePattern == nil, self.templateName == nil, !self.noGuard else {
                throw ValidationError("--name-pattern, --template-name and --no-guard belong to --template.")
            }
            guard self.name != nil || self.target.unit != nil else { throw ValidationError("Give it a --name.") }
            for value in [self.name, self.namespace, self.serviceAccount] {
                if let value { _ = try Values.label(value) }
            }
        }
    }

    package func run() async throws {
        if self.template { return try await self.enrolTemplate() }
        let request = try self.request()
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

    private func request() throws(CLIError) -> EnrolRequest {
        var request = EnrolRequest(
            namespace: self.namespace ?? "default", name: self.name ?? "",
            serviceAccount: self.serviceAccount ?? "default",
            labels: Dictionary(self.label.map { ($0.key, $0.value) }, uniquingKeysWith: { _, last in last }),
            cgroup: try self.target.resolve(), unit: self.target.unit, networkNamespace: self.networkNamespace,
            addresses: self.address.isEmpty ? nil : self.address.map(\.description), weight: self.weight,
            whenGone: self.whenGone?.rawValue ?? (self.target.unit == nil ? nil : "wait"))
        if self.name == nil, let unit = self.target.unit { request.name = try Self.name(ofUnit: unit) }
        self.steering.fill(&request)
        return request
    }

    /// `redis-server@6379.service` is called `redis-server-6379`.
    private static func name(ofUnit unit: String) throws(CLIError) -> String {
        let stem = unit.split(separator: "/").last.map(String.init) ?? unit
        let base = [".service", ".scope", ".slice"].first(where: stem.hasSuffix).map { String(stem.dropLast($0.count)) }
        let name = String((base ?? stem).lowercased().map { $0.isLetter || $0.isNumber ? $0 : "-" })
        guard (try? Values.label(name)) != nil else {
            throw CLIError("unit \(unit) has a name that a workload cannot have; give it a --name", status: .usage)
        }
        return name
    }

    private func enrolTemplate() async throws {
        let pattern = self.namePattern ?? "(?<name>.+)"
        var request = try self.request(template: pattern)
        self.steering.fill(&request)
        let last = request.cgroup.split(separator: "/").last.map(String.init) ?? ""
        let template = EnrolTemplate(
            name: try self.templateName ?? Self.name(ofUnit: last), workload: request, namePattern: pattern,
            isGuarded: !self.noGuard)
        let client = self.node.client
        let body = try await client.send(
            APIRequest(.post, "/v1/templates", body: client.encode(template), contentType: "application/json"))
        let summary = try client.decode(TemplateSummary.self, from: body)
        let printer = Printer(self.output)
        try printer.print(body) { printer.text(of: Table([summary], at: printer.now), empty: "") }
    }

    private func request(template pattern: String) throws(CLIError) -> EnrolRequest {
        let given = { (name: String, value: String?) in
            value ?? (pattern.contains("(?<\(name)>") ? "$\(name)" : "default")
        }
        return EnrolRequest(
            namespace: given("namespace", self.namespace), name: self.name ?? "$name",
            serviceAccount: given("serviceAccount", self.serviceAccount),
            labels: Dictionary(self.label.map { ($0.key, $0.value) }, uniquingKeysWith: { _, last in last }),
            cgroup: try self.target.resolve(), unit: self.target.unit, weight: self.weight)
    }

    /// See `--when-gone`.
    package enum WhenGone: String, ExpressibleByArgument, CaseIterable, Sendable { case wait, forget }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAdminAPI

/// `workload list`
package struct WorkloadList: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the workloads enrolled on this node, or all of the mesh.",
        discussion: """
            STATE absent: waits for its cgroup to come (back); empty: the cgroup is there, guarded, without a process; \
            failed: it cannot be enrolled as it is. -o wide shows \
            who declared each, and how many of its connections are not captured. With --all the bodies are the control \
            plane's: which node runs each, and what selects it.
            """)

    @Flag(help: "List the templates, whose cgroups' children are enrolled by themselves. (default: the workloads)")
    package var templates = false

    @OptionGroup package var scope: AllOption
    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Node") package var node: NodeOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    package func validate() throws {
        if self.templates, self.scope.all {
            throw ValidationError("--templates are this node's: the control plane knows none.")
        }
    }

    package func run() async throws {
        if self.templates {
            let client = self.node.client
            return try Printer(self.output).printList(
                of: TemplateSummary.self, try await client.get("/v1/templates"), from: client,
                empty: "This node has no template. Make one: nodemeshctl workload enroll --template --help")
        }
        let client = try self.scope.client(node: self.node, controlPlane: self.controlPlane)
        let body = try await client.get("/v1/workloads")
        let printer = Printer(self.output)
        if self.scope.all {
            try printer.printList(
                of: WorkloadSummary.self, body, from: client, empty: "No node has registered a workload.")
        } else {
            try printer.printList(
                of: EnrolledWorkload.self, body, from: client,
                empty: "No workload is enrolled on this node. Enrol one: nodemeshctl workload enroll --help")
        }
    }
}

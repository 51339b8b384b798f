// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshModel

/// `workload unenroll`
package struct WorkloadUnenroll: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "unenroll",
        abstract: "Take a workload of this node out of the mesh.",
        discussion: """
            Its processes go on; its captured connections are closed and new ones are left alone. With --template: \
            all children of the template, and none is enrolled any more.
            """,
        aliases: ["unenrol"])

    @Argument(
        help: ArgumentHelp("The workload. (required, or --template)", valueName: "namespace/name"),
        transform: Values.workload)
    package var workload: WorkloadID?

    @Option(help: ArgumentHelp("A template. (default: none)", valueName: "name"), transform: Values.label)
    package var template: String?

    @OptionGroup(title: "Node") package var node: NodeOptions

    package init() {}

    package func validate() throws {
        guard (self.workload == nil) != (self.template == nil) else {
            throw ValidationError("Say what: a workload, NAMESPACE/NAME, or --template NAME.")
        }
    }

    package func run() async throws {
        let (what, target) =
            if let name = self.template {
                ("Template \(name)", "/v1/templates/\(APIRequest.encode(name))")
            } else {
                (
                    self.workload?.description ?? "",
                    "/v1/workloads/\(APIRequest.encode(self.workload?.namespace ?? ""))/\(APIRequest.encode(self.workload?.name ?? ""))"
                )
            }
        _ = try await self.node.client.send(APIRequest(.delete, target))
        CLIContext.current.console.writeError("\(what) is no longer enrolled.\n")
    }
}

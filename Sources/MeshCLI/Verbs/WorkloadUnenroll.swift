// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshModel

/// `workload unenroll`
package struct WorkloadUnenroll: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "unenroll",
        abstract: "Take a workload of this node out of the mesh.",
        discussion: "Its processes go on; its captured connections are closed and new ones are left alone.",
        aliases: ["unenrol"])

    @Argument(help: ArgumentHelp("The workload.", valueName: "namespace/name"), transform: Values.workload)
    package var workload: WorkloadID

    @OptionGroup(title: "Node") package var node: NodeOptions

    package init() {}

    package func run() async throws {
        let target =
            "/v1/workloads/\(APIRequest.encode(self.workload.namespace))/\(APIRequest.encode(self.workload.name))"
        _ = try await self.node.client.send(APIRequest(.delete, target))
        CLIContext.current.console.writeError("\(self.workload) is no longer enrolled.\n")
    }
}

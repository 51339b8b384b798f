// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `node delete`
package struct NodeDelete: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Remove a node and its workloads from the mesh.",
        discussion: "The node must join again with a new token. Stop nodemeshd on it first.")

    @Argument(help: "The node's name.")
    package var name: String

    @Flag(help: "Succeed when there is no such node. (default: exit 4)")
    package var ignoreNotFound = false

    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    package func validate() throws {
        if self.name.isEmpty { throw ValidationError("The node's name is empty.") }
    }

    package func run() async throws {
        let console = CLIContext.current.console
        do {
            _ = try await self.controlPlane.client().send(
                APIRequest(.delete, "/v1/nodes/\(APIRequest.encode(self.name))"))
            console.writeError("Node \(self.name) is deleted.\n")
        } catch {
            guard error.status == .notFound, self.ignoreNotFound else { throw error }
            console.writeError("There was no node \(self.name).\n")
        }
    }
}

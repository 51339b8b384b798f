// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAdminAPI

/// `status`
package struct StatusCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the state of this node and of the control plane.",
        discussion: """
            Each is shown when it answers; -o wide adds counters at zero and kernel maps with room. Exits 0 if at least one did, 3 if none did or one that was named \
            with an option or a variable did not, and 1 if the node is not ready. In JSON and YAML: an object \
            with `node` and `controlPlane`, each the API's body or null.
            """)

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Node") package var node: NodeOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    package func run() async throws {
        let nodeClient = self.node.client
        let controlClient = try self.controlPlane.client()
        let node = await Self.ask(nodeClient)
        let control = await Self.ask(controlClient)
        let printer = Printer(self.output)

        if case .failure(let first) = node, case .failure(let second) = control {
            CLIContext.current.console.writeError(first.text)
            throw second
        }
        let null = Data("null".utf8)
        let body =
            Data("{\"controlPlane\":".utf8) + ((try? control.get()) ?? null) + Data(",\"node\":".utf8)
            + ((try? node.get()) ?? null) + Data("}".utf8)
        try printer.print(body) { () throws(CLIError) in
            var sections: [String] = []
            if case .success(let body) = node {
                let status = try nodeClient.decode(NodeStatus.self, from: body)
                sections.append(status.facts(at: printer.now, isWide: printer.isWide).text(color: printer.usesColor))
            }
            if case .success(let body) = control {
                let status = try controlClient.decode(ControlStatus.self, from: body)
                sections.append(
                    status.facts(at: printer.now, address: controlClient.endpoint.name).text(color: printer.usesColor))
            }
            return sections.joined(separator: "\n")
        }
        try Self.settle(node, isExplicit: self.node.isExplicit, printer)
        try Self.settle(control, isExplicit: self.controlPlane.isExplicit, printer)
        if case .success(let body) = node, try !nodeClient.decode(NodeStatus.self, from: body).isReady {
            throw CLIError("this node is not ready", hints: ["Why:  journalctl -u nodemeshd"])
        }
    }

    private static func ask(_ client: APIClient) async -> Result<Data, CLIError> {
        do {
            return .success(try await client.get("/v1/status"))
        } catch {
            return .failure(error)
        }
    }

    /// What did not answer fails the command only when the operator asked for it by name.
    private static func settle(_ answer: Result<Data, CLIError>, isExplicit: Bool, _ printer: Printer) throws(CLIError)
    {
        guard case .failure(let error) = answer else { return }
        if isExplicit { throw error }
        printer.note("(\(error.message))")
    }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAdminAPI
import MeshModel

/// `version`
package struct VersionCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "version",
        abstract: "Show the versions of this program, this node's daemon and the control plane.",
        discussion: "What does not answer is left out of JSON and YAML. Exits 0 either way.")

    /// What `-o json` prints.
    private struct Versions: Encodable {
        var nodemeshctl: String
        var nodemeshd: String?
        var control: String?
    }

    @Flag(help: "Ask no daemon. (default: ask both)")
    package var client = false

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Node") package var node: NodeOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    package func run() async throws {
        let nodeClient = self.node.client
        var versions = Versions(nodemeshctl: Version.text)
        var rows = [[Cell("nodemeshctl"), Cell(Version.text)]]
        if !self.client {
            versions.nodemeshd = await Self.version(of: nodeClient)
            rows.append([Cell("nodemeshd"), Cell(versions.nodemeshd ?? "no answer")])
            if let client = try? self.controlPlane.client() { versions.control = await Self.version(of: client) }
            rows.append([Cell("nodemesh-control"), Cell(versions.control ?? "no answer")])
        }
        let body = try nodeClient.encode(versions)
        try Printer(self.output).print(body) { Table(columns: ["", ""], rows: rows).text() }
    }

    private static func version(of client: APIClient) async -> String? {
        guard let body = try? await client.get("/v1/status") else { return nil }
        return try? client.decode(JSONValue.self, from: body)["version"].text
    }
}

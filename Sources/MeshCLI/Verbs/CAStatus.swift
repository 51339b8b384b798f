// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAdminAPI

/// `ca status`
package struct CAStatus: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show the roots, and the nodes for which a rotation waits.")

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    package func run() async throws {
        let client = try self.controlPlane.client()
        try Self.show(try await client.get("/v1/ca/status"), from: client, Printer(self.output))
    }

    /// The answer of each step is the status after it.
    static func show(_ body: Data, from client: APIClient, _ printer: Printer) throws(CLIError) {
        try printer.print(body) { () throws(CLIError) in
            let status = try client.decode(AuthorityStatus.self, from: body)
            return status.facts(at: printer.now).text(color: printer.usesColor)
        }
    }
}

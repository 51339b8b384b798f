// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAdminAPI

/// `join-token create`
package struct JoinTokenCreate: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Create a single-use token and show the command that joins a node with it.",
        discussion: "The token is a secret: it lets its bearer become a node of the mesh.")

    @Option(help: "The one node name that may use it. (default: any)")
    package var node: String?

    @Option(
        help: ArgumentHelp(
            "How long it works, such as 90s, 15m, 2h or 1d. (default: 1h)", valueName: "duration"),
        transform: Values.duration)
    package var ttl: Int?

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    package func validate() throws {
        if self.node?.isEmpty == true { throw ValidationError("--node wants the node's name.") }
    }

    package func run() async throws {
        let client = try self.controlPlane.client()
        let request = JoinTokenRequest(node: self.node, ttlSeconds: self.ttl)
        let body = try await client.send(
            APIRequest(.post, "/v1/join-tokens", body: client.encode(request), contentType: "application/json"))
        let printer = Printer(self.output)
        try printer.print(body) { () throws(CLIError) in
            let token = try client.decode(JoinTokenResponse.self, from: body)
            var facts = Facts()
            facts.add("Token", token.token)
            facts.add("Node", token.node ?? "any")
            facts.add("Expires", Human.relative(token.expiresAt, to: printer.now))
            facts.add("CA fingerprint", token.caFingerprint)
            return facts.text(color: printer.usesColor)
                + "\nPaste this on the node:\n\n  \(Printable.text(token.command))\n"
        }
    }
}

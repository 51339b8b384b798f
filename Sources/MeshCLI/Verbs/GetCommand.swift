// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAdminAPI

/// `get`
package struct GetCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "get",
        abstract: "Show resources as they were applied.",
        discussion: """
            -o yaml prints documents that `apply` takes back. What the mesh makes of them is in \
            `workload list --all` and `service list --all`.

            EXAMPLES
              nodemeshctl get services -A
              nodemeshctl get authorizationpolicy deny-web -n shop -o yaml
            """)

    @Argument(help: ArgumentHelp("The kind: \(KindArgument.help).", valueName: "kind"))
    package var kind: KindArgument

    @Argument(help: "One resource's name, or namespace/name. (default: all of the namespace)")
    package var name: String?

    @Option(name: .shortAndLong, help: "The namespace. (default: default)", transform: Values.label)
    package var namespace: String?

    @Flag(name: [.customShort("A"), .long], help: "All namespaces. (default: one)")
    package var allNamespaces = false

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    package func validate() throws {
        if self.allNamespaces, self.namespace != nil || self.name != nil {
            throw ValidationError("-A lists every namespace: it goes with neither a name nor -n.")
        }
        _ = try self.name.map { try ResourceName($0, namespace: self.namespace) }
    }

    package func run() async throws {
        let client = try self.controlPlane.client()
        let printer = Printer(self.output)
        var target = "/v1/resources/\(self.kind.text)"
        if let name = try self.name.map({ try ResourceName($0, namespace: self.namespace) }) {
            target += "/\(name.namespace)/\(APIRequest.encode(name.name))"
        } else if !self.allNamespaces {
            target += "/\(self.namespace ?? "default")"
        }
        let body = try await client.get(target)
        let place = self.allNamespaces ? "" : " in namespace \(self.namespace ?? "default"); -A shows all namespaces"
        try printer.print(body, asDocuments: true) { () throws(CLIError) in
            let value = try client.decode(JSONValue.self, from: body)
            let resources = if case .array(let elements) = value { elements } else { [value] }
            return printer.text(of: ResourceTable.table(of: resources), empty: "No \(self.kind.text)\(place).")
        }
    }
}

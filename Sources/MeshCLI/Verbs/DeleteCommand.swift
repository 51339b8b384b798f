// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAdminAPI

/// `delete`
package struct DeleteCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "delete",
        abstract: "Delete resources, by file or by name.",
        discussion: """
            With -f, everything that the files name is deleted or, if one thing does not exist or cannot be, nothing.

            EXAMPLES
              nodemeshctl delete -f policies/
              nodemeshctl delete authorizationpolicy deny-web -n shop
            """)

    @Argument(help: ArgumentHelp("The kind: \(KindArgument.help).", valueName: "kind"))
    package var kind: KindArgument?

    @Argument(help: "The name, or namespace/name.")
    package var name: String?

    @Option(
        name: [.customShort("f"), .customLong("filename")], parsing: .upToNextOption,
        help: ArgumentHelp(
            "A file, a directory (its .yaml, .yml and .json files), or - for standard input; repeat it. "
                + "(required, or KIND NAME)", valueName: "path"),
        completion: .file(extensions: ["yaml", "yml", "json"]))
    package var files: [String] = []

    @Option(name: .shortAndLong, help: "The namespace. (default: default)", transform: Values.label)
    package var namespace: String?

    @Flag(help: "Succeed when it does not exist. (default: exit 4)")
    package var ignoreNotFound = false

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    package func validate() throws {
        if !self.files.isEmpty {
            guard self.kind == nil, self.namespace == nil else {
                throw ValidationError("-f names the resources: it goes with neither KIND NAME nor -n.")
            }
        } else if self.kind == nil || self.name == nil {
            throw ValidationError("Say what to delete: -f FILE, or KIND NAME.")
        }
        _ = try self.name.map { try ResourceName($0, namespace: self.namespace) }
    }

    package func run() async throws {
        let client = try self.controlPlane.client()
        let printer = Printer(self.output)
        guard let kind = self.kind, let text = self.name else {
            let target = "/v1/delete" + (self.ignoreNotFound ? "?ignoreNotFound=true" : "")
            return try await ResourceRequest.send(self.files, to: target, client, printer)
        }
        do {
            let name = try ResourceName(text, namespace: self.namespace)
            let target = "/v1/resources/\(kind.text)/\(name.namespace)/\(APIRequest.encode(name.name))"
            _ = try await client.send(APIRequest(.delete, target))
            printer.note("\(kind.text) \(name.namespace)/\(name.name) is deleted.")
        } catch let error as CLIError where error.status == .notFound && self.ignoreNotFound {
            printer.note("Not found: \(error.message)")
        }
    }
}

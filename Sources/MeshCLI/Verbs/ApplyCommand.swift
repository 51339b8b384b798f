// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAdminAPI

/// `apply`
package struct ApplyCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "apply",
        abstract: "Create or change resources from YAML or JSON files.",
        discussion: """
            Everything that is given in one command is taken whole or not at all. Each problem is printed on one \
            line as FILE:LINE: kind namespace/name path: reason, and nothing is changed.

            EXAMPLES
              nodemeshctl apply -f services.yaml -f policies/
              nodemeshctl get services -o yaml | nodemeshctl apply --dry-run -f -
            """)

    @Option(
        name: [.customShort("f"), .customLong("filename")], parsing: .upToNextOption,
        help: ArgumentHelp(
            "A file, a directory (its .yaml, .yml and .json files), or - for standard input; repeat it. (required)",
            valueName: "path"),
        completion: .file(extensions: ["yaml", "yml", "json"]))
    package var files: [String] = []

    @Flag(help: "Check everything and change nothing. (default: change)")
    package var dryRun = false

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    package func validate() throws {
        if self.files.isEmpty { throw ValidationError("Say what to apply: -f FILE, -f DIRECTORY or -f -.") }
    }

    package func run() async throws {
        let client = try self.controlPlane.client()
        let printer = Printer(self.output)
        let target = "/v1/apply" + (self.dryRun ? "?dryRun=true" : "")
        try await ResourceRequest.send(self.files, to: target, client, printer)
        if self.dryRun { printer.note("Dry run: nothing was changed.") }
    }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAdminAPI

/// `check`
package struct CheckCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Show which kernel features the mesh needs, and what is lost without each.",
        discussion:
            "Tries each on this machine and leaves nothing behind; no daemon is asked. Needs root. Exits 1 if a required one is missing."
    )

    @OptionGroup(title: "Output") package var output: OutputOptions

    package init() {}

    package func run() async throws {
        let context = CLIContext.current
        let features = context.probeKernel()
        let printer = Printer(self.output)
        let body: Data
        do {
            body = try AdminJSON.encoder.encode(features)
        } catch {
            throw CLIError("cannot encode the result: \(error)")
        }
        try printer.print(body) {
            printer.text(of: Table(features, at: printer.now), empty: "Nothing was checked.")
        }
        let missing = features.filter { $0.isRequired && !$0.isPresent }
        guard missing.isEmpty else {
            throw CLIError(
                "\(missing.count) required \(missing.count == 1 ? "feature is" : "features are") missing: "
                    + missing.map(\.feature).joined(separator: ", "),
                hints: [
                    missing.contains { $0.feature == "privileges" }
                        ? "Run it as root: without privileges the kernel cannot be asked."
                        : "nodemeshd does not start without them."
                ])
        }
    }
}

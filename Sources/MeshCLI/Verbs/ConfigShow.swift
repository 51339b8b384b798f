// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAdminAPI

/// `config show`
package struct ConfigShow: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show the configuration in force on this node, or with --control in the control plane.",
        discussion: """
            Only what is set; -o wide shows every key. What has changed and needs a restart is told below the table, \
            and so are the faults that kept the last reload from happening. Secrets are redacted.
            """)

    @Flag(help: "Ask the control plane. (default: this node)")
    package var control = false

    @Flag(help: "Where each value comes from: FILE:LINE, a variable or a flag. (default: as -o wide)")
    package var origin = false

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Node") package var node: NodeOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    package func run() async throws {
        let client = self.control ? try self.controlPlane.client() : self.node.client
        let body = try await client.get("/v1/config")
        let printer = Printer(self.output)
        try printer.print(body) { () throws(CLIError) in
            let summary = try client.decode(ConfigurationSummary.self, from: body)
            let text = printer.text(
                of: summary.table(isWide: printer.isWide, showsOrigin: self.origin || printer.isWide),
                empty: "Every key of \(summary.program) has its default.")
            for entry in summary.entries {
                if let pending = entry.pending {
                    printer.note(
                        "\(entry.key): \(Self.text(pending)) after a restart of \(summary.program); "
                            + "in force is \(Self.text(entry.values))")
                }
            }
            for problem in summary.problems { printer.note("the last reload changed nothing: \(problem)") }
            return text
        }
    }

    private static func text(_ values: [String]) -> String {
        values.isEmpty ? "nothing" : values.joined(separator: ",")
    }
}

extension ConfigurationSummary {
    fileprivate func table(isWide: Bool, showsOrigin: Bool) -> Table {
        var columns: [Column] = ["KEY", "VALUE", "CHANGES WITH"]
        if showsOrigin { columns.append("FROM") }
        let shown = self.entries.filter { isWide || $0.origin != "default" || $0.pending != nil }
        return Table(
            columns: columns,
            rows: shown.map { entry in
                let value = Cell(entry.values.joined(separator: ","), entry.pending == nil ? .plain : .warning)
                let cells = [Cell(entry.key), value, Cell(entry.isLive ? "reload" : "restart")]
                return showsOrigin ? cells + [Cell(entry.origin)] : cells
            })
    }
}

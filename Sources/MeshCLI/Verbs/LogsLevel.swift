// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAdminAPI

/// `logs level`
package struct LogsLevel: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "level",
        abstract: "Show or change from which level on this node's daemon logs, while it runs.",
        discussion: """
            Without a level it shows the present ones. A change ends with the daemon, after --for, or with 'default'.

              nodemeshctl logs level                          every component and its level
              nodemeshctl logs level debug --for 10m          everything
              nodemeshctl logs level control-plane trace      one component
              nodemeshctl logs level default                  as the configuration says
            """)

    /// What a level may be called; the last takes a change back.
    private static let levels = ["trace", "debug", "info", "notice", "warning", "error", "critical", "default"]

    @Argument(help: ArgumentHelp("A component, as shown. (default: every one)", valueName: "component"))
    package var component: String?

    @Argument(
        help: ArgumentHelp(
            "trace, debug, info, notice, warning, error, critical, or default for the configuration's. "
                + "(default: show)", valueName: "level"))
    package var level: String?

    @Option(
        name: .customLong("for"),
        help: ArgumentHelp("How long, such as 10m; then as before. (default: until changed)", valueName: "duration"),
        transform: Values.duration)
    package var duration: Int?

    @Flag(help: "Of the control plane. (default: this node's daemon)")
    package var control = false

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Node") package var node: NodeOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    /// A level alone is one for everything.
    private var wish: (component: String?, level: String?) {
        if self.level == nil, let first = self.component, Self.levels.contains(first) { return (nil, first) }
        return (self.component, self.level)
    }

    package func validate() throws {
        let level = self.wish.level
        if let level, !Self.levels.contains(level) {
            throw ValidationError("'\(level)' is no level: use one of \(Self.levels.joined(separator: ", ")).")
        }
        if self.duration != nil, level == nil || level == "default" {
            throw ValidationError("--for needs a level to hold that long.")
        }
    }

    package func run() async throws {
        let client = self.control ? try self.controlPlane.client() : self.node.client
        let (component, level) = self.wish
        var body: Data
        if let level {
            let request = LogLevelRequest(
                component: component, level: level == "default" ? nil : level, seconds: self.duration)
            body = try await client.send(
                APIRequest(
                    .post, "/v1/logs/levels", body: try client.encode(request), contentType: "application/json"))
        } else {
            body = try await client.get("/v1/logs/levels")
            if let component {
                var summary = try client.decode(LogLevelSummary.self, from: body)
                summary.components = summary.components.filter { $0.component == component }
                if summary.components.isEmpty {
                    throw CLIError(
                        "no component '\(component)' logs", hints: ["nodemeshctl logs level lists them."],
                        status: .notFound)
                }
                body = try client.encode(summary)
            }
        }
        let printer = Printer(self.output)
        try printer.print(body) { () throws(CLIError) in
            let summary = try client.decode(LogLevelSummary.self, from: body)
            return printer.text(of: Table(summary.components, at: printer.now), empty: "Nothing logs yet.")
        }
    }
}

extension LogLevelSummary.Component: TableDisplayable {
    package static let columns: [Column] = ["COMPONENT", "LEVEL", "CHANGED"]

    package var sortKey: [String] { [self.component] }

    package func cells(at now: Date) -> [Cell] {
        let until = self.until.map { "ends \(Human.relative($0, to: now))" } ?? "until taken back"
        return [
            Cell(self.component), Cell(self.level, self.isChanged ? .warning : .plain),
            Cell(self.isChanged ? until : ""),
        ]
    }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAdminAPI

/// `bpf status`
package struct BPFStatusCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the eBPF programs, where they are attached, and how full their maps are.",
        discussion: """
            Three tables: programs, with what the verifier walked through; links, counted by hook unless -o wide, those \
            that lead nowhere any longer marked defunct; maps with their fill level. Runs and time per run are counted \
            while the sysctl kernel.bpf_stats_enabled is on. Exits 1 if a link is defunct.
            """)

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Node") package var node: NodeOptions

    package init() {}

    package func run() async throws {
        let client = self.node.client
        let body = try await client.get("/v1/bpf")
        let summary = try client.decode(BPFSummary.self, from: body)
        let printer = Printer(self.output)
        try printer.print(body) { () throws(CLIError) in
            let links =
                printer.isWide
                ? Table(summary.links, at: printer.now)
                : Table(BPFLinkCount.count(summary.links), at: printer.now)
            return [
                Table(summary.programs, at: printer.now), links, Table(summary.maps, at: printer.now),
            ].map { $0.text(wide: printer.isWide, color: printer.usesColor) }.joined(separator: "\n")
        }
        let defunct = summary.links.count { !$0.isAttached }
        guard defunct == 0 else {
            throw CLIError(
                "\(defunct) \(defunct == 1 ? "link leads" : "links lead") nowhere",
                hints: [
                    "Which:  nodemeshctl bpf status -o wide", "Their workloads may be gone: nodemeshctl workload list",
                ])
        }
    }
}

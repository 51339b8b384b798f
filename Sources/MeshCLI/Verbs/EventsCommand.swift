// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAdminAPI
import MeshModel
import MeshSteering

/// `events`
package struct EventsCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "Show what this node's eBPF programs refused, left alone or sent directly.",
        discussion: """
            The latest some thousands since nodemeshd started, and with --follow those that come, until it is \
            interrupted. Captured connections are not among them: see `connections` and the access log. In JSON one \
            object per line.

            EXAMPLES
              nodemeshctl events --follow --workload shop/web
              nodemeshctl events --reason inactive_refused,unenrolled_refused --since 10m
            """)

    @Flag(name: .shortAndLong, help: "Go on with those that come. (default: end after those that are kept)")
    package var follow = false

    @Option(
        help: ArgumentHelp("Only those from or to this workload. (default: all)", valueName: "namespace/name"),
        transform: Values.workload)
    package var workload: WorkloadID?

    @Option(
        help: ArgumentHelp(
            "Only those from or to this identity, with or without spiffe://. (default: all)", valueName: "spiffe-id"))
    package var identity: String?

    @Option(
        help: ArgumentHelp(
            "Only those with one of these reasons, comma-separated. (default: all)", valueName: "reason,..."))
    package var reason: String?

    @Option(
        help: ArgumentHelp(
            "Only those not older than this, such as 90s or 2h. (default: all that are kept)",
            valueName: "duration"),
        transform: Values.duration)
    package var since: Int?

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Node") package var node: NodeOptions

    package init() {}

    package func validate() throws {
        for word in self.reasons ?? [] where !Self.knownReasons.contains(word) {
            throw ValidationError(
                "'\(word)' is not a reason; known are \(Self.knownReasons.sorted().joined(separator: ", ")).")
        }
        guard self.output.output != .yaml || !self.follow else {
            throw ValidationError("--follow prints a table or JSON lines, not YAML.")
        }
    }

    /// Those of the eBPF programs, and those of the daemon itself.
    private static let knownReasons = Set(
        Reason.allCases.map(\.name) + ["canary_failed", "programs_missing", "subscriber_slow"])

    private var reasons: Set<String>? {
        self.reason.map { Set($0.split(separator: ",", omittingEmptySubsequences: false).map(String.init)) }
    }

    package func run() async throws {
        let client = self.node.client
        let sink = EventSink(self.output, filter: self.filter())
        let request = APIRequest(.get, self.follow ? "/v1/events?follow=true" : "/v1/events")
        if self.follow {
            try await client.stream(request) { line throws(CLIError) in try sink.take(line, from: client, live: true) }
        } else {
            for line in try await client.send(request).split(separator: UInt8(ascii: "\n")) {
                try sink.take(Data(line), from: client, live: false)
            }
            try sink.finish()
        }
    }

    private func filter() -> @Sendable (NodeEvent) -> Bool {
        let (workload, identity, reasons) = (self.workload?.description, self.identity, self.reasons)
        let oldest = self.since.map { CLIContext.current.now().addingTimeInterval(-Double($0)) }
        // Events carry their time as text of one form, so texts compare as times do.
        let oldestText = oldest.map { $0.formatted(.iso8601) }
        return { event in
            if let workload, !event.concerns(workload: workload) { return false }
            if let identity, !event.concerns(identity: identity) { return false }
            if let reasons, !reasons.contains(event.reason) { return false }
            if let oldestText, event.time < oldestText { return false }
            return true
        }
    }
}

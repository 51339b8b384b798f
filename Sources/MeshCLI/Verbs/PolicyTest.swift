// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshAdminAPI

/// `policy test`
package struct PolicyTest: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "test",
        abstract: "Say for which recent connections proposed policies would give another answer.",
        discussion: """
            Takes AuthorizationPolicies and PeerAuthentications. Those of the same name take the place of what the \
            control plane holds, the others are added; nothing is stored. Each connection that nodes have reported \
            is put to the policies as they are and as they would be.

            Exits 0 if no answer changes, 1 if one does, and 2 if it could not be tested.

            EXAMPLES
              nodemeshctl policy test deny-web.yaml --since 15m
              nodemeshctl policy test policies/ --replace -o json
              nodemeshctl policy test strict.yaml --against /var/log/nodemesh/access.log
            """)

    @Argument(
        help: ArgumentHelp(
            "Files, directories (their .yaml, .yml and .json files), or - for standard input. (required)",
            valueName: "file"),
        completion: .file(extensions: ["yaml", "yml", "json"]))
    package var files: [String]

    @Option(
        help: ArgumentHelp(
            "What to test on: `recent`, which is what nodes have told the control plane of the last hour, or an "
                + "access log of a node. (default: recent)", valueName: "recent|file"),
        completion: .file())
    package var against = "recent"

    @Option(
        help: ArgumentHelp(
            "How far back, at most 1h, to five minutes; not for an access log. (default: 1h)", valueName: "duration"),
        transform: Values.duration)
    package var since: Int?

    @Flag(help: "Test the given policies alone: every other one counts as deleted. (default: together)")
    package var replace = false

    @OptionGroup(title: "Output") package var output: OutputOptions
    @OptionGroup(title: "Control plane") package var controlPlane: ControlPlaneOptions

    package init() {}

    package func validate() throws {
        if let since, since > 3600 {
            throw ValidationError("Connections of the last hour are kept: --since 1h or less.")
        }
        if self.since != nil, self.against != "recent" {
            throw ValidationError("--since is for --against recent; an access log is tested as a whole.")
        }
    }

    package func run() async throws {
        let hasChanges: Bool
        do throws(CLIError) {
            hasChanges = try await self.test()
        } catch {
            // For a pipeline, "it could not be tested" has to differ from "something changes".
            var error = error
            error.status = .usage
            throw error
        }
        if hasChanges { throw CommandStatus.failed }
    }

    private func test() async throws(CLIError) -> Bool {
        let console = CLIContext.current.console
        let printer = Printer(self.output)
        let input = try ResourceFiles.read(self.files, console: console)
        var request = PolicyTestRequest(
            resources: String(decoding: input.body, as: UTF8.self), replace: self.replace, sinceSeconds: self.since)
        if self.against != "recent" {
            var log = RecordedLog()
            try log.read(self.against)
            for note in log.notes { printer.note(note) }
            request.connections = log.connections
        }
        let client = try self.controlPlane.client()
        let body = try await client.send(
            APIRequest(
                .post, "/v1/policy-test", body: try client.encode(request), contentType: "application/json"),
            place: { input.place(of: $0) })
        let result = try client.decode(PolicyTestResult.self, from: body)
        for note in result.remarks { printer.note(note) }
        try printer.print(body) { result.text(printer) }
        return result.changed > 0
    }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import MeshCLI
import Testing

/// Help is part of the interface: it changes only on purpose. `NODEMESH_UPDATE_SNAPSHOTS=1 swift test` rewrites it.
struct HelpTests {
    private static let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(
        path: "Snapshots")

    /// `nodemeshctl workload list` and its like, with their types.
    private static func commands(
        _ type: any ParsableCommand.Type = Nodemeshctl.self, path: [String] = []
    ) -> [(path: [String], type: any ParsableCommand.Type)] {
        let path = path + [type._commandName]
        return [(path, type)] + type.configuration.subcommands.flatMap { Self.commands($0, path: path) }
    }

    @Test func everyHelpTextIsAsRecorded() throws {
        let isUpdating = ProcessInfo.processInfo.environment["NODEMESH_UPDATE_SNAPSHOTS"] != nil
        for (path, type) in Self.commands() {
            let help = Nodemeshctl.helpMessage(for: type, columns: 80) + "\n"
            let file = Self.directory.appending(path: path.joined(separator: "-") + ".txt")
            if isUpdating {
                try Data(help.utf8).write(to: file)
            } else {
                let recorded = try String(contentsOf: file, encoding: .utf8)
                #expect(help == recorded, "help of \(path.joined(separator: " "))")
            }
        }
    }

    @Test func everyOptionHasHelpThatNamesItsDefault() throws {
        for (path, type) in Self.commands() {
            // A name that fills its column has its text on the next line.
            let help = Nodemeshctl.helpMessage(for: type, columns: 10_000).replacing(">\n    ", with: "> ")
            for line in help.split(separator: "\n") where line.hasPrefix("  -") {
                if line.hasPrefix("  --version") || line.hasPrefix("  -h, --help") { continue }
                #expect(
                    line.contains("default: ") || line.contains("(required"), "\(path.joined(separator: " ")): \(line)")
            }
        }
    }

    @Test(arguments: ["bash", "zsh", "fish"])
    func printsCompletionScripts(shell: String) async {
        let run = await CommandLineRun("--generate-completion-script \(shell)")
        #expect(run.status == .success)
        #expect(run.output.contains("nodemeshctl"))
        #expect(run.error.isEmpty)
    }

    @Test func helpIsData() async {
        let run = await CommandLineRun("workload enroll --help")
        #expect(run.status == .success)
        #expect(run.output.contains("--cgroup"))
        #expect(run.error.isEmpty)
    }
}

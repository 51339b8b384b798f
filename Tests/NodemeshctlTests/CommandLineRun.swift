// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshCLI

/// One command line, run against stubs.
struct CommandLineRun {
    let status: CommandStatus?
    let output: String
    let error: String

    /// 2026-01-02T03:04:05Z.
    static let now = Date(timeIntervalSince1970: 1_767_323_045)

    init(
        _ line: String, transport: StubTransport = StubTransport([:]), environment: [String: String] = [:],
        input: String = "", isTerminal: Bool = false, kernel: [FeatureCheck] = [],
        host: any NodeHost = StubHost()
    ) async {
        await self.init(
            line.split(separator: " ").map(String.init), transport: transport, environment: environment, input: input,
            isTerminal: isTerminal, kernel: kernel, host: host)
    }

    init(
        _ arguments: [String], transport: StubTransport = StubTransport([:]), environment: [String: String] = [:],
        input: String = "", isTerminal: Bool = false, kernel: [FeatureCheck] = [],
        host: any NodeHost = StubHost()
    ) async {
        let console = CapturingConsole(input: input, isTerminal: isTerminal)
        let context = CLIContext(
            environment: environment, console: console, transport: transport, now: { Self.now },
            probeKernel: { kernel }, host: host)
        let status = await CLIContext.$current.withValue(context) { await Launcher.run(arguments) }
        self.status = CommandStatus(rawValue: status)
        self.output = console.output
        self.error = console.error
    }
}

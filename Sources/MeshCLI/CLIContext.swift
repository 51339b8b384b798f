// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Everything a verb takes from the world outside its command line. Tests bind their own.
package struct CLIContext: Sendable {
    @TaskLocal package static var current = CLIContext.live

    /// The process environment.
    package var environment: [String: String]
    package var console: any Console
    package var transport: any APITransport
    /// The time that ages and expiries are measured from.
    package var now: @Sendable () -> Date
    /// Asks the running kernel for each feature the mesh uses.
    package var probeKernel: @Sendable () -> [FeatureCheck]
    /// Waits between two looks at something.
    package var sleep: @Sendable (Duration) async throws -> Void
    /// What `install-node` and `uninstall-node` change.
    package var host: any NodeHost

    package init(
        environment: [String: String], console: any Console, transport: any APITransport,
        now: @escaping @Sendable () -> Date, probeKernel: @escaping @Sendable () -> [FeatureCheck],
        sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) },
        host: any NodeHost = LocalNodeHost()
    ) {
        self.sleep = sleep
        self.environment = environment
        self.console = console
        self.transport = transport
        self.now = now
        self.probeKernel = probeKernel
        self.host = host
    }

    private static let live = CLIContext(
        environment: ProcessInfo.processInfo.environment,
        console: StandardConsole(),
        transport: HTTPTransport(),
        now: { Date() },
        probeKernel: { FeatureCheck.ofRunningKernel() })

    /// Colours only for a person who did not decline them (https://no-color.org).
    package var usesColor: Bool {
        self.console.isTerminal && (self.environment["NO_COLOR"] ?? "").isEmpty && self.environment["TERM"] != "dumb"
    }

    /// A variable that is set and not empty.
    package func variable(_ name: String) -> String? {
        self.environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }
}

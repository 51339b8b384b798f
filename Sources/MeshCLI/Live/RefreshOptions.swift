// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// How often something is shown again.
package struct RefreshOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("Time between two looks, such as 5s. (default: 2s)", valueName: "duration"),
        transform: Values.duration)
    package var interval: Int?

    @Option(
        help: ArgumentHelp("End after so many looks. (default: when interrupted)", valueName: "number"),
        transform: Self.count)
    package var count: Int?

    package init() {}

    private static func count(_ text: String) throws -> Int {
        guard let count = Int(text), (1...1_000_000).contains(count) else {
            throw ValidationError("'\(text)' is not a number of looks: use a whole number from 1 to 1000000.")
        }
        return count
    }

    var period: Duration { .seconds(self.interval ?? 2) }

    /// Waits for the next look.
    func wait() async throws { try await CLIContext.current.sleep(self.period) }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// The form of what a verb prints.
package enum OutputFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
    case table, wide, json, yaml
}

/// `--output`, on every verb.
package struct OutputOptions: ParsableArguments {
    @Option(
        name: .shortAndLong,
        help: "How to print: table for people, wide for a table with more columns, json or yaml for programs.")
    package var output: OutputFormat = .table

    package init() {}
}

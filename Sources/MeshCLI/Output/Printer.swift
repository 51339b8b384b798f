// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI

/// Prints an API body in the form that was asked for.
package struct Printer: Sendable {
    private let format: OutputFormat
    private let context: CLIContext

    package init(_ options: OutputOptions) {
        self.format = options.output
        self.context = CLIContext.current
    }

    package var isWide: Bool { self.format == .wide }

    package var usesColor: Bool { self.context.usesColor }

    package var now: Date { self.context.now() }

    /// - Parameters:
    ///   - asDocuments: in YAML, an array's elements become documents.
    ///   - text: what a person reads instead; only built when it is wanted.
    package func print(
        _ body: Data, asDocuments: Bool = false, text: () throws(CLIError) -> String
    ) throws(CLIError) {
        switch self.format {
        case .json: try self.context.console.write(JSONText.indented(body))
        case .yaml: try self.context.console.write(YAMLText.text(body, asDocuments: asDocuments))
        case .table, .wide: try self.context.console.write(text())
        }
    }

    /// A list as one table; `empty` goes to standard error when there is nothing to show.
    package func printList<Row: TableDisplayable & Decodable>(
        of type: Row.Type, _ body: Data, from client: APIClient, empty: String
    ) throws(CLIError) {
        try self.print(body) { () throws(CLIError) in
            self.text(of: Table(try client.decode([Row].self, from: body), at: self.now), empty: empty)
        }
    }

    package func text(of table: Table, empty: String) -> String {
        if table.rows.isEmpty {
            self.note(empty)
            return ""
        }
        return table.text(wide: self.isWide, color: self.usesColor)
    }

    /// A line for the person who watches, on standard error.
    package func note(_ text: String) { self.context.console.writeError(Printable.text(text) + "\n") }
}

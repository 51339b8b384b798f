// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Synchronization

/// Prints events as they come: JSON line by line, a table when all are there, or row by row for those that are live.
final class EventSink: Sendable {
    private struct State {
        var rows: [NodeEvent] = []
        /// Of the columns of live rows; they grow and never shrink, so that a column rarely moves.
        var widths: [Int] = []
    }

    private let format: OutputFormat
    private let printer: Printer
    private let filter: @Sendable (NodeEvent) -> Bool
    private let state = Mutex(State())

    init(_ options: OutputOptions, filter: @escaping @Sendable (NodeEvent) -> Bool) {
        self.format = options.output
        self.printer = Printer(options)
        self.filter = filter
    }

    /// - Parameter line: one JSON object; an empty line is nothing.
    func take(_ line: Data, from client: APIClient, live: Bool) throws(CLIError) {
        guard !line.isEmpty else { return }
        let event = try client.decode(NodeEvent.self, from: line)
        guard self.filter(event) else { return }
        switch self.format {
        case .json:
            try CLIContext.current.console.write(String(decoding: line, as: UTF8.self) + "\n")
        case .yaml: self.state.withLock { $0.rows.append(event) }
        case .table, .wide:
            if live { try self.writeRow(event) } else { self.state.withLock { $0.rows.append(event) } }
        }
    }

    /// Prints what was collected.
    func finish() throws(CLIError) {
        guard self.format != .json else { return }
        let rows = self.state.withLock { $0.rows }
        let body: Data
        do {
            body = try AdminJSON.encoder.encode(rows)
        } catch {
            throw CLIError("cannot encode the events: \(error)")
        }
        try self.printer.print(body) { () throws(CLIError) in
            self.printer.text(of: Table(rows, at: self.printer.now), empty: "No such event is kept on this node.")
        }
    }

    private func writeRow(_ event: NodeEvent) throws(CLIError) {
        let shown = NodeEvent.columns.indices.filter { self.format == .wide || !NodeEvent.columns[$0].isWide }
        let all = event.cells(at: self.printer.now)
        let cells = shown.map { all[$0] }
        let (widths, isFirst) = self.state.withLock { state in
            let isFirst = state.widths.isEmpty
            if isFirst { state.widths = shown.map { NodeEvent.columns[$0].title.count } }
            for (index, cell) in cells.enumerated() { state.widths[index] = max(state.widths[index], cell.text.count) }
            return (state.widths, isFirst)
        }
        var lines = isFirst ? [shown.map { Cell(NodeEvent.columns[$0].title) }] : []
        lines.append(cells)
        let color = self.printer.usesColor
        let text = lines.map { line in
            line.enumerated().map { index, cell in
                let padding = String(repeating: " ", count: widths[index] - cell.text.count)
                return (color ? cell.tone.painting(cell.text) : cell.text) + (index == line.count - 1 ? "" : padding)
            }.joined(separator: "  ") + "\n"
        }
        try CLIContext.current.console.write(text.joined())
    }
}

// SPDX-License-Identifier: Apache-2.0

/// What a cell's text means; shown as colour where colours are wanted.
package enum Tone: Sendable, Hashable {
    case plain, good, bad, warning, faint

    /// `text` between the terminal sequences for this tone.
    package func painting(_ text: String) -> String {
        switch self {
        case .plain: text
        case .good: "\u{1b}[32m\(text)\u{1b}[0m"
        case .bad: "\u{1b}[31m\(text)\u{1b}[0m"
        case .warning: "\u{1b}[33m\(text)\u{1b}[0m"
        case .faint: "\u{1b}[2m\(text)\u{1b}[0m"
        }
    }
}

/// One value of a table. Nothing to say prints as `-`.
package struct Cell: Sendable, Hashable, ExpressibleByStringLiteral {
    package var text: String
    package var tone: Tone

    package init(_ text: String?, _ tone: Tone = .plain) {
        let text = Printable.text(text ?? "")
        self.text = text.isEmpty ? "-" : text
        self.tone = tone
    }

    /// A list, comma-separated.
    package init(_ list: [String]) { self.init(list.joined(separator: ",")) }

    /// Labels in a fixed order.
    package init(_ labels: [String: String]) {
        self.init(labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" })
    }

    package init(stringLiteral text: String) { self.init(text) }
}

package struct Column: Sendable, Hashable, ExpressibleByStringLiteral {
    package enum Alignment: Sendable { case left, right }

    package var title: String
    package var alignment: Alignment
    /// Shown by `-o wide` only.
    package var isWide: Bool

    package init(_ title: String, _ alignment: Alignment = .left, isWide: Bool = false) {
        self.title = title
        self.alignment = alignment
        self.isWide = isWide
    }

    package init(stringLiteral title: String) { self.init(title) }
}

/// Rows under titled columns. Nothing is ever cut off: a pipe must get whole words, and a terminal can wrap.
package struct Table: Sendable, Hashable {
    package var columns: [Column]
    /// One cell per column each.
    package var rows: [[Cell]]

    package init(columns: [Column], rows: [[Cell]]) {
        self.columns = columns
        self.rows = rows
    }

    /// - Returns: lines with a final newline; no titles when no column has one.
    package func text(wide: Bool = false, color: Bool = false) -> String {
        let shown = self.columns.indices.filter { wide || !self.columns[$0].isWide }
        let titles = shown.map { self.columns[$0].title }
        var widths = titles.map(\.count)
        for row in self.rows {
            for (position, index) in shown.enumerated() {
                widths[position] = max(widths[position], row[index].text.count)
            }
        }
        var lines: [String] = []
        if titles.contains(where: { !$0.isEmpty }) {
            lines.append(self.line(shown, widths, titles.map { Cell($0) }, color: false))
        }
        lines += self.rows.map { row in self.line(shown, widths, shown.map { row[$0] }, color: color) }
        return lines.map { $0 + "\n" }.joined()
    }

    private func line(_ shown: [Int], _ widths: [Int], _ cells: [Cell], color: Bool) -> String {
        var line = ""
        for (position, cell) in cells.enumerated() {
            let padding = String(repeating: " ", count: widths[position] - cell.text.count)
            let text = color ? cell.tone.painting(cell.text) : cell.text
            let isLast = position == cells.count - 1
            switch self.columns[shown[position]].alignment {
            case .left: line += text + (isLast ? "" : padding + "  ")
            case .right: line += padding + text + (isLast ? "" : "  ")
            }
        }
        return line
    }
}

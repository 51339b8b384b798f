// SPDX-License-Identifier: Apache-2.0

/// Named values of one thing, one per line.
package struct Facts: Sendable {
    private var rows: [[Cell]] = []

    package init() {}

    package mutating func add(_ name: String, _ value: String?, _ tone: Tone = .plain) {
        self.rows.append([Cell(name + ":"), Cell(value, tone)])
    }

    package func text(color: Bool) -> String { Table(columns: ["", ""], rows: self.rows).text(color: color) }
}

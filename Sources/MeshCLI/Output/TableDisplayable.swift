// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A value that is one row of a list.
package protocol TableDisplayable {
    static var columns: [Column] { get }
    /// One cell per column.
    func cells(at now: Date) -> [Cell]
    /// Rows are shown in this order.
    var sortKey: [String] { get }
}

extension Table {
    package init<Row: TableDisplayable>(_ rows: [Row], at now: Date) {
        let sorted = rows.sorted { $0.sortKey.lexicographicallyPrecedes($1.sortKey) }
        self.init(columns: Row.columns, rows: sorted.map { $0.cells(at: now) })
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI

extension PolicyTestResult.Change: TableDisplayable {
    package static let columns: [Column] = [
        "BECOMES", Column("CONNECTIONS", .right), "LAST SEEN", "SOURCE", "DESTINATION", "POLICY", "CLAUSE",
        Column("PRESENT", isWide: true), Column("IDENTITY", isWide: true), Column("ADDRESSES", isWide: true),
    ]

    /// In the order of the answer.
    package var sortKey: [String] { [] }

    package func cells(at now: Date) -> [Cell] {
        let addresses = self.sourceAddresses + (self.moreAddresses > 0 ? ["+\(self.moreAddresses)"] : [])
        let source =
            self.source
            ?? self.sourceIdentity ?? "plaintext from \(addresses.joined(separator: ","))"
        return [
            Cell(self.becomes, self.becomes == "denied" ? .bad : .warning), Cell("\(self.connections)"),
            Cell(Human.relative(self.lastSeen, to: now)), Cell(source), Cell("\(self.workload):\(self.port)"),
            Cell(self.policy), Cell(self.clause), Cell(self.present), Cell(self.sourceIdentity ?? "plaintext"),
            Cell(addresses),
        ]
    }
}

extension PolicyTestResult {
    /// The changes, then the sums.
    func text(_ printer: Printer) -> String {
        let total = self.unchanged + self.changed
        let scope = self.nodes.map { " of the \($0.count) nodes that reported" } ?? ""
        if self.changed == 0 { return "No answer changes: \(total) connections\(scope).\n" }
        let table = Table(
            columns: Change.columns, rows: self.changes.map { $0.cells(at: printer.now) })
        let more = self.moreChanges > 0 ? ", \(self.moreChanges) more kinds of them are not shown" : ""
        return printer.text(of: table, empty: "")
            + "The answer changes for \(self.changed) of \(total) connections\(scope)\(more).\n"
    }

    /// What limits the answer.
    var remarks: [String] {
        var remarks = self.notes
        if let silent = self.silentNodes, !silent.isEmpty {
            remarks.append(
                "Nothing was reported by \(silent.joined(separator: ", ")): nothing happened there, or the reports are late."
            )
        }
        if self.gone > 0 {
            remarks.append("\(self.gone) connections went to workloads that are gone or moved, and were not tested.")
        }
        if self.dropped > 0 { remarks.append("\(self.dropped) connections were not kept for want of room.") }
        return remarks
    }
}

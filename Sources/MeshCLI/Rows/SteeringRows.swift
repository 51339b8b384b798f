// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI

extension TemplateSummary: TableDisplayable {
    package static let columns: [Column] = [
        "NAME", "CGROUP", "PATTERN", "WORKLOADS", Column("ENROLLED", .right), "GUARD", Column("PROBLEMS"),
        Column("DECLARED BY", isWide: true), Column("LABELS", isWide: true),
    ]

    package var sortKey: [String] { [self.template.name] }

    package func cells(at now: Date) -> [Cell] {
        let workload = self.template.workload
        let problems = self.problems.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
        return [
            Cell(self.template.name), Cell(workload.cgroup), Cell(self.template.namePattern),
            Cell("\(workload.namespace)/\(workload.name) (\(workload.serviceAccount))"), Cell(String(self.enrolled)),
            self.isGuarding
                ? Cell("closed", .good) : Cell(self.template.isGuarded ? "waiting" : "off", .warning),
            Cell(problems.joined(separator: "; "), problems.isEmpty ? .plain : .bad), Cell(self.origin),
            Cell(workload.labels),
        ]
    }
}

extension UncapturedConnection: TableDisplayable {
    package static let columns: [Column] = ["WORKLOAD", "DIRECTION", "LOCAL", "REMOTE", "STATE", "WHY"]

    package var sortKey: [String] { [self.workload, self.direction, self.local, self.remote] }

    package func cells(at now: Date) -> [Cell] {
        [
            Cell(self.workload), Cell(self.direction), Cell(self.local), Cell(self.remote), Cell(self.state),
            Cell(self.reason.replacing("_", with: " "), .warning),
        ]
    }
}

extension NodeEvent: TableDisplayable {
    package static let columns: [Column] = [
        "TIME", "WHAT", "REASON", "WORKLOAD", "TO", "SOURCE", "DESTINATION", "DETAIL",
        Column("UPSTREAM", isWide: true), Column("IDENTITY", isWide: true),
    ]

    package var sortKey: [String] { [self.time] }

    package func cells(at now: Date) -> [Cell] {
        let tone: Tone =
            switch self.kind {
            case "alarm": .bad
            case "decision", "lost": .warning
            default: .plain
            }
        var detail: [String] = []
        if let close = self.close { detail.append(close) }
        if let duration = self.durationSeconds { detail.append(Human.duration(duration)) }
        if let sent = self.bytesSent, let received = self.bytesReceived {
            detail.append("\(Human.bytes(sent)) sent, \(Human.bytes(received)) received")
        }
        if let text = self.detail { detail.append(text) }
        return [
            Cell(self.time), Cell(self.kind, tone), Cell(self.reason, tone), Cell(self.workload), Cell(self.target),
            Cell(self.source), Cell(self.destination), Cell(detail.joined(separator: ", ")), Cell(self.upstream),
            Cell(self.identity),
        ]
    }
}

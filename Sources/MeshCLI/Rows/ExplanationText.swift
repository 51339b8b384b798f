// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI

extension Explanation {
    /// The steps in order, then the verdict.
    func text(color: Bool) -> String {
        var rows: [[Cell]] = []
        for step in self.steps {
            rows.append([Cell("  " + step.stage), Cell(step.outcome, Self.tone(step.outcome)), Cell(step.detail)])
        }
        let decided =
            (self.reason.map { ", \(Printable.text($0))" } ?? "")
            + (self.policy.map { " by policy \(Printable.text($0))" } ?? "") + (self.rule.map { ", rule \($0)" } ?? "")
        let verdict = Cell(self.verdict, self.verdict == "allowed" ? .good : .bad)
        let painted = color ? verdict.tone.painting(verdict.text) : verdict.text
        return "\(Printable.text(self.source)) -> \(Printable.text(self.destination))\n"
            + Table(columns: ["", "", ""], rows: rows).text(color: color) + "\(painted)\(decided)\n"
    }

    private static func tone(_ outcome: String) -> Tone {
        switch outcome {
        case "denied", "refused", "missing": .bad
        case "notCaptured", "plaintext", "passthrough": .warning
        case "allowed": .good
        default: .plain
        }
    }
}

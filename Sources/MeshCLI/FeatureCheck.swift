// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshSteering

/// One kernel feature that the mesh uses, and what the running kernel said.
package struct FeatureCheck: Codable, Sendable, Hashable {
    package var feature: String
    package var isPresent: Bool
    /// What was found.
    package var detail: String
    package var whatIsLostWithoutIt: String
    /// Nothing works without it.
    package var isRequired: Bool

    package init(feature: String, isPresent: Bool, detail: String, whatIsLostWithoutIt: String, isRequired: Bool) {
        self.feature = feature
        self.isPresent = isPresent
        self.detail = detail
        self.whatIsLostWithoutIt = whatIsLostWithoutIt
        self.isRequired = isRequired
    }
}

extension FeatureCheck: TableDisplayable {
    package static let columns: [Column] = [
        "FEATURE", "STATE", "DETAIL", "WITHOUT IT", Column("REQUIRED", isWide: true),
    ]

    /// In the order of the probe.
    package var sortKey: [String] { [] }

    package func cells(at now: Date) -> [Cell] {
        let state: Cell =
            self.isPresent ? Cell("present", .good) : self.isRequired ? Cell("MISSING", .bad) : Cell("absent", .warning)
        return [
            Cell(self.feature), state, Cell(self.detail), Cell(self.whatIsLostWithoutIt),
            Cell(self.isRequired ? "yes" : "no"),
        ]
    }
}

extension FeatureCheck {
    /// Tries each feature on this machine; nothing is left behind.
    static func ofRunningKernel() -> [FeatureCheck] {
        KernelProbe.run().map {
            FeatureCheck(
                feature: $0.name, isPresent: $0.isPresent, detail: $0.detail, whatIsLostWithoutIt: $0.loss,
                isRequired: $0.isRequired)
        }
    }
}

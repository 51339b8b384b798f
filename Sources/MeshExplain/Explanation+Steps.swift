// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshModel

extension Explanation {
    mutating func add(_ stage: String, _ outcome: String, _ detail: String) {
        self.steps.append(Step(stage: stage, outcome: outcome, detail: detail))
    }

    /// The mesh leaves it alone, and that is the end.
    ///
    /// - Parameter reason: the kernel's word.
    mutating func leave(_ stage: String, _ reason: String?, _ detail: String) {
        self.add(stage, "notCaptured", detail)
        self.verdict = "notCaptured"
        self.reason = reason
    }

    mutating func refuse(_ stage: String, _ reason: CloseReason, _ detail: String) {
        self.refuse(stage, reason.rawValue, detail)
    }

    /// - Parameter reason: the word that the connection would end with.
    mutating func refuse(_ stage: String, _ reason: String?, _ detail: String) {
        self.add(stage, "refused", detail)
        self.verdict = "refused"
        self.reason = reason
    }
}

// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshModel

extension Explanation {
    /// With what the age of the view does to it: a connection that needs a view which is too old is refused, whatever
    /// the view says.
    ///
    /// - Parameters:
    ///   - staleness: why the view may not be decided by; nil: it may.
    ///   - age: of the view; nil: not known.
    func judged(staleness: String?, age: Duration?) -> Explanation {
        var answer = self
        // Next to the capture, which is the kernel's decision and needs no view.
        let place = answer.steps.firstIndex { $0.stage != "capture" } ?? answer.steps.count
        guard let staleness else {
            guard let age, answer.verdict != "notCaptured" else { return answer }
            answer.steps.insert(
                Step(stage: "view", outcome: "current", detail: "confirmed \(ViewFreshness.text(age)) ago"), at: place)
            return answer
        }
        guard answer.verdict != "notCaptured" else { return answer }
        answer.steps = Array(answer.steps[..<place])
        answer.steps.append(Step(stage: "view", outcome: "refused", detail: staleness))
        answer.verdict = "refused"
        answer.reason = CloseReason.staleView.rawValue
        answer.policy = nil
        answer.rule = nil
        return answer
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Which workloads a policy is for.
package struct LabelSelector: Codable, Hashable, Sendable {
    package var matchLabels: [String: String]

    package init(matchLabels: [String: String]) { self.matchLabels = matchLabels }

    /// Every label has to be there with that value; no labels select everything.
    package func matches(_ labels: [String: String]) -> Bool {
        self.matchLabels.allSatisfy { labels[$0.key] == $0.value }
    }
}

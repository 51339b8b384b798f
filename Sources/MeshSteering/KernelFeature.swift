// SPDX-License-Identifier: Apache-2.0

/// One thing nodemesh wants from the machine, and whether it is there.
package struct KernelFeature: Hashable, Sendable {
    /// Such as `cgroup/connect4`.
    package let name: String
    package let isPresent: Bool
    /// What was found, or why not.
    package let detail: String
    /// What does not work without it.
    package let loss: String
    /// Whether nodemeshd cannot run without it.
    package let isRequired: Bool

    package init(name: String, isPresent: Bool, detail: String, loss: String, isRequired: Bool) {
        self.name = name
        self.isPresent = isPresent
        self.detail = detail
        self.loss = loss
        self.isRequired = isRequired
    }
}

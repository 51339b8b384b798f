// SPDX-License-Identifier: Apache-2.0

/// All faults of a configuration at once.
package struct ConfigurationError: Error, Equatable, CustomStringConvertible {
    /// One line each: where (`FILE:LINE`, a variable or a flag), the key, the value and what is allowed.
    package var problems: [String]

    package init(problems: [String]) {
        self.problems = problems
    }

    package var description: String { self.problems.joined(separator: "\n") }
}

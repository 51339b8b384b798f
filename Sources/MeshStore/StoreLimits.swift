// SPDX-License-Identifier: Apache-2.0

/// How much the store takes. What is over a limit is refused, and what is stored stays.
package struct StoreLimits: Sendable, Hashable {
    /// Resources of one kind.
    package var resourcesPerKind = 20_000
    /// Join tokens that are neither used nor expired.
    package var joinTokens = 10_000
    package var nodes = 20_000

    package init() {}
}

// SPDX-License-Identifier: Apache-2.0

/// Counters of all loops since start, and present use of what is bounded.
package struct ProxyStatistics: Sendable, Hashable {
    package var accepted: UInt64 = 0
    package var refusedByLimit: UInt64 = 0
    package var connections = 0
    package var buffersLent = 0
    package var pipesLent = 0
    /// Turns of a loop that took more than a millisecond.
    package var slowTurns: UInt64 = 0
    package var turns: UInt64 = 0

    package init() {}
}

// SPDX-License-Identifier: Apache-2.0

/// What `nodemeshctl` tells the shell. The numbers are part of its interface: scripts depend on them.
package enum CommandStatus: Int32, Sendable, CaseIterable {
    case success = 0
    /// The request was refused, or the answer is "no" (`check`, `explain`, `status` of a node that is not ready).
    case failed = 1
    /// The command line is wrong; `policy test`: it could not be tested.
    case usage = 2
    /// The daemon or the control plane did not answer.
    case unreachable = 3
    /// The named thing does not exist.
    case notFound = 4
}

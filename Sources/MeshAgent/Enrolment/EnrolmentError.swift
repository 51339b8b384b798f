// SPDX-License-Identifier: Apache-2.0

/// Why a workload could not be enrolled or unenrolled; the message says what to change.
package struct EnrolmentError: Error, CustomStringConvertible {
    package enum Code: Sendable {
        /// The request itself is wrong.
        case invalid
        /// The name, cgroup or network namespace is taken.
        case conflict
        case notFound
        /// The workload's cgroup does not exist, so nothing can leave it.
        case absent
        /// The cgroup is there and has no process, by which alone its network namespace could be found.
        case empty
        /// The kernel refused.
        case kernel
        /// The state on disk could not be read or written.
        case storage
    }

    package let code: Code
    package let description: String

    package init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Why something about steering failed, in words for the operator.
package struct SteeringError: Error, Equatable, CustomStringConvertible {
    package enum Code: String, Sendable, Hashable {
        /// No bpf file system, or no right to use it.
        case bpffs
        /// Another process steers under the same instance name.
        case inUse
        /// An argument that cannot be.
        case invalid
        /// The kernel does not take a program or a map.
        case load
        /// A program could not be attached.
        case attach
        /// Somebody else's exclusive program is in the way.
        case foreignProgram
        /// The cgroup is in use already, or contains one that is, or lies inside one; or a namespace's workloads disagree.
        case conflict
        /// No workload with this key.
        case unknownWorkload
        /// A map is full.
        case capacity
        /// The cgroup or namespace is gone.
        case vanished
        /// Any other failed call.
        case system
    }

    package let code: Code
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }
}

// SPDX-License-Identifier: Apache-2.0

/// A cgroup that carries this instance's programs.
package struct EnrolledCgroup: Hashable, Sendable {
    package let key: UInt32
    /// The kernel's id of the cgroup.
    package let cgroupID: UInt64
    /// The workload's name and directory; nil when the pins are of an earlier run and nobody has enrolled it again.
    package let id: String?
    package let cgroupPath: String?
    /// Cookie of its network namespace.
    package let namespaceCookie: UInt64
}

// SPDX-License-Identifier: Apache-2.0

/// How full a kernel map is.
package struct MapStatus: Hashable, Sendable {
    package let name: String
    /// Nil for storage that lives with sockets and cgroups, which the kernel does not count.
    package let entries: Int?
    /// Zero where the kernel sets no bound.
    package let capacity: UInt32
}

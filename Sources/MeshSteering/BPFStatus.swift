// SPDX-License-Identifier: Apache-2.0

/// What an instance has in the kernel.
package struct BPFStatus: Sendable, Hashable {
    package struct Program: Sendable, Hashable {
        /// As the kernel keeps it, at most 15 bytes.
        package var name: String
        package var id: UInt32
        /// Hash of its instructions, hexadecimal.
        package var tag: String
        /// Such as `cgroup/connect4`.
        package var hook: String
        /// Bytes of machine code.
        package var jitedSize: UInt32
        /// Instructions the verifier had to look at.
        package var verifiedInstructions: UInt32
        /// Zero unless `kernel.bpf_stats_enabled` is set.
        package var runCount: UInt64
        package var runNanoseconds: UInt64
        /// Nanoseconds since the Unix epoch.
        package var loadedAt: UInt64
    }

    package struct Link: Sendable, Hashable {
        /// Below the instance's directory, such as `state/workloads/42/connect4`.
        package var pin: String
        package var hook: String
        /// The cgroup's directory, or `netns:` and the namespace's inode.
        package var target: String
        package var programID: UInt32
        /// False when its cgroup or namespace is gone.
        package var isAttached: Bool
    }

    package struct Map: Sendable, Hashable {
        package var name: String
        /// Such as `LRU_HASH`.
        package var type: String
        package var id: UInt32
        /// Nil where nothing can be counted.
        package var entries: Int?
        /// Zero where the kernel sets no bound; of a ring: bytes.
        package var capacity: UInt32
        package var memoryBytes: UInt64
    }

    package var programs: [Program]
    package var links: [Link]
    package var maps: [Map]
}

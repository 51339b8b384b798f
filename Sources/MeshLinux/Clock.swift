// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// The kernel's clocks in nanoseconds.
package enum Clock {
    /// Never goes back; meaningful only as a difference.
    @inline(__always)
    package static var monotonic: UInt64 { nm_monotonic_clock() }

    /// Since the Unix epoch.
    package static var wall: UInt64 { nm_wall_clock() }

    /// Since the machine started, sleep included (CLOCK_BOOTTIME).
    package static var sinceBoot: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// What the calling thread has used of its processor.
    package static var threadCPU: UInt64 { nm_thread_cpu_clock() }
}

/// Limits of this process.
package enum ProcessLimits {
    /// Raises the soft limit of open descriptors to the hard one and returns it.
    package static func raiseDescriptorLimit() -> Int {
        let limit = nm_raise_descriptor_limit()
        return limit > 0 ? Int(limit) : 1024
    }

    /// Gives what the heap does not use back to the system, milliseconds of work during which allocations may wait.
    /// After a burst of TLS handshakes most of the heap is free, and the C library keeps it. For a quiet moment, every
    /// minute or so; not on a loop.
    package static func returnFreeMemory() { nm_trim_heap() }
}

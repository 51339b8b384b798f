// SPDX-License-Identifier: Apache-2.0

import Glibc

/// When this process was made.
package enum ProcessStart {
    /// By ``Clock/monotonic``, to a hundredth of a second; nil when proc does not tell.
    package static var monotonic: UInt64? {
        guard let text = try? FileTree.text(of: "/proc/self/stat"), let end = text.lastIndex(of: ")") else {
            return nil
        }
        // The 22nd field of all; the name in parentheses is the second (proc(5)).
        let fields = text[text.index(after: end)...].split(separator: " ")
        let rate = sysconf(Int32(_SC_CLK_TCK))
        guard fields.count > 19, let ticks = UInt64(fields[19]), rate > 0 else { return nil }
        // It counts time asleep, too.
        var boot = timespec()
        guard clock_gettime(CLOCK_BOOTTIME, &boot) == 0 else { return nil }
        let now = UInt64(boot.tv_sec) * 1_000_000_000 + UInt64(boot.tv_nsec)
        let age = now &- ticks * 1_000_000_000 / UInt64(rate)
        let monotonic = Clock.monotonic
        return age < monotonic ? monotonic - age : nil
    }
}

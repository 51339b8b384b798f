// SPDX-License-Identifier: Apache-2.0
import Glibc

/// What this process and its threads have used so far.
package struct ProcessUsage: Sendable {
    /// A thread by its name, and its time on a processor (seconds).
    package struct Thread: Sendable {
        package let name: String
        package let seconds: Double
    }

    /// In user space and in the kernel, of all threads, those that have ended included.
    package let seconds: Double
    /// Bytes of memory that are resident.
    package let memory: UInt64
    package let descriptors: Int
    package let threads: [Thread]

    /// Of the calling process; what cannot be read is zero or absent.
    package static func current() -> Self {
        var usage = rusage()
        let seconds =
            getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0
            ? Self.seconds(usage.ru_utime) + Self.seconds(usage.ru_stime) : 0
        let statm = (try? FileTree.text(of: "/proc/self/statm"))?.split(separator: " ") ?? []
        let pages = statm.count > 1 ? UInt64(statm[1]) ?? 0 : 0
        let tasks = (try? FileTree.names(in: "/proc/self/task")) ?? []
        return Self(
            seconds: seconds, memory: pages * UInt64(sysconf(Int32(_SC_PAGESIZE))),
            descriptors: ((try? FileTree.names(in: "/proc/self/fd")) ?? []).count,
            threads: tasks.compactMap { Self.thread("/proc/self/task/\($0)/stat") })
    }

    package static var pid: Int32 { getpid() }

    private static func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) * 1e-6 }

    /// proc_pid_stat(5): `PID (NAME) STATE …`, of which the 14th and 15th are clock ticks in user space and the kernel.
    private static func thread(_ path: String) -> Thread? {
        guard let text = try? FileTree.text(of: path), let open = text.firstIndex(of: "("),
            let close = text.lastIndex(of: ")"), open < close
        else { return nil }
        let fields = text[text.index(after: close)...].split(separator: " ")
        guard fields.count > 12, let user = UInt64(fields[11]), let kernel = UInt64(fields[12]) else { return nil }
        return Thread(
            name: String(text[text.index(after: open)..<close]),
            seconds: Double(user + kernel) / Double(max(1, sysconf(Int32(_SC_CLK_TCK)))))
    }
}

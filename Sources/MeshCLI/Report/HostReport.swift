// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshLinux

/// What the machine says about itself and about the daemons' units.
struct HostReport: Sendable {
    private static let files = [
        "/proc/version", "/etc/os-release", "/proc/cmdline", "/proc/meminfo", "/proc/loadavg", "/proc/uptime",
        "/proc/sys/fs/file-nr", "/proc/sys/net/ipv4/ip_local_port_range", "/proc/net/sockstat", "/proc/self/mountinfo",
    ]
    private static let units = ["nodemeshd", "nodemesh-control"]
    /// How long a program may take (milliseconds).
    private static let timeout = 20_000

    /// Of the log that systemd keeps (seconds).
    let since: Int

    /// - Parameters:
    ///   - pid: nodemeshd's, if it answers.
    ///   - configuration: the file it read.
    func add(to report: inout BugReport, pid: Int32?, configuration: String?) {
        for path in Self.files { Self.add(path, to: &report) }
        if let pid {
            for name in ["status", "limits", "stat", "cgroup"] { Self.add("/proc/\(pid)/\(name)", to: &report) }
        } else {
            report.miss("/proc/PID of nodemeshd", "it does not answer")
        }
        let usual = ["/etc/nodemesh/nodemeshd.yaml", "/etc/nodemesh/nodemesh-control.yaml"]
        for path in Set(usual + (configuration.map { [$0] } ?? [])).sorted() where FileTree.exists(path) {
            Self.add(path, to: &report)
        }
        guard FileTree.exists("/run/systemd/system") else {
            return report.miss("units and their logs", "systemd does not run here")
        }
        for unit in Self.units {
            Self.run("/usr/bin/systemctl", ["show", "--no-pager", unit], as: "system/\(unit).unit.txt", to: &report)
            // The newest come first so that what does not fit is the oldest.
            Self.run(
                "/usr/bin/journalctl",
                [
                    "--unit", unit, "--since", "-\(self.since)s", "--no-pager", "--output", "short-iso", "--lines",
                    "3000",
                ],
                as: "system/\(unit).log", to: &report)
        }
    }

    private static func add(_ path: String, to report: inout BugReport) {
        do throws(SystemError) {
            report.add("system" + path.replacing(" ", with: "_"), try FileTree.text(of: path))
        } catch {
            report.miss(path, "\(error)")
        }
    }

    private static func run(
        _ program: String, _ arguments: [String], as name: String, to report: inout BugReport
    ) {
        do throws(SystemError) {
            let result = try ChildProcess.run(program, arguments, timeout: Self.timeout)
            report.add(name, result.output)
            if result.code != 0 { report.miss(name, "\(program) ended with \(result.code)") }
        } catch {
            report.miss(name, "\(program): \(error)")
        }
    }
}

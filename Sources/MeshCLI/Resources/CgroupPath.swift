// SPDX-License-Identifier: Apache-2.0

import MeshLinux

/// Finds a cgroup v2 directory from what an operator has at hand.
enum CgroupPath {
    /// From a path, an absolute one or one below the cgroup v2 mount such as `system.slice/nginx.service`.
    static func resolve(_ text: String) throws(CLIError) -> String {
        let mount = try Self.mountPoint()
        guard !text.split(separator: "/").contains("..") else {
            throw CLIError("\(text): write the cgroup's path without ..", status: .usage)
        }
        // systemd shows `/system.slice/nginx.service`, which is meant below the mount.
        let candidates = [text, mount + (text.hasPrefix("/") ? text : "/\(text)")].filter { $0.hasPrefix("/") }
        for candidate in candidates {
            if let cgroup = try? Cgroup(path: candidate) { return try Self.refusingRoot(cgroup, mount: mount) }
        }
        throw CLIError(
            "\(text) is not a cgroup v2 directory",
            hints: [
                "Looked for \(candidates.joined(separator: " and ")).",
                "Of a systemd unit:  --unit NAME", "Of a process:  --pid PID",
            ], status: .notFound)
    }

    /// Of a process.
    static func of(pid: Int32) throws(CLIError) -> String {
        let mount = try Self.mountPoint()
        let cgroup: Cgroup
        do {
            cgroup = try Cgroup(pid: pid)
        } catch {
            throw CLIError(
                "cannot find the cgroup of process \(pid): \(error)", hints: ["Does it run?  ps -p \(pid)"],
                status: .notFound)
        }
        return try Self.refusingRoot(cgroup, mount: mount)
    }

    /// Finds units, containers and pods.
    static func locator() throws(CLIError) -> CgroupLocator {
        _ = try Self.mountPoint()
        do {
            return try CgroupLocator()
        } catch {
            throw CLIError("cgroup v2 cannot be looked through: \(error)")
        }
    }

    private static func mountPoint() throws(CLIError) -> String {
        do {
            return try Cgroup.mountPoint()
        } catch {
            throw CLIError(
                "cgroup v2 is not mounted on this machine",
                hints: ["mount -t cgroup2 none /sys/fs/cgroup/unified", "What else is missing:  nodemeshctl check"])
        }
    }

    /// Enrolling the root would capture the whole machine, the daemon included.
    private static func refusingRoot(_ cgroup: Cgroup, mount: String) throws(CLIError) -> String {
        guard cgroup.id != (try? Cgroup(path: mount))?.id else {
            throw CLIError(
                "refusing to enrol the root cgroup: it holds the whole machine",
                hints: ["Start the workload in a cgroup of its own:  systemd-run --unit=NAME COMMAND"])
        }
        return cgroup.path.count > 1 && cgroup.path.hasSuffix("/") ? String(cgroup.path.dropLast()) : cgroup.path
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Finds a cgroup v2 directory from what an operator has at hand.
package enum CgroupPath {
    /// From a path, an absolute one or one below the cgroup v2 mount such as `system.slice/nginx.service`.
    package static func resolve(_ text: String) throws(CLIError) -> String {
        let mount = try Self.mountPoint()
        let trimmed = text.count > 1 && text.hasSuffix("/") ? String(text.dropLast()) : text
        let below = mount + (trimmed.hasPrefix("/") ? trimmed : "/\(trimmed)")
        let candidates = trimmed == mount || trimmed.hasPrefix(mount + "/") ? [trimmed] : [below]
        guard let path = candidates.first(where: Self.isCgroup) else {
            throw CLIError(
                "\(text) is not a cgroup v2 directory",
                hints: [
                    "Looked for \(candidates.joined(separator: " and ")).",
                    "Of a systemd unit:  systemctl show -P ControlGroup UNIT",
                    "Of a process:  --pid PID",
                ], status: .notFound)
        }
        return try Self.refusingRoot(path, mount: mount)
    }

    /// Of a process.
    package static func of(pid: Int32) throws(CLIError) -> String {
        let mount = try Self.mountPoint()
        let text: String
        do {
            text = try String(contentsOfFile: "/proc/\(pid)/cgroup", encoding: .utf8)
        } catch {
            throw CLIError("no process \(pid)", status: .notFound)
        }
        guard let path = Self.unifiedPath(processCgroup: text) else {
            throw CLIError("process \(pid) has no cgroup v2 (only version 1 hierarchies)")
        }
        return try Self.refusingRoot(path == "/" ? mount : mount + path, mount: mount)
    }

    /// The mount point of the cgroup v2 file system in the text of `/proc/PID/mountinfo`, also under a hybrid
    /// hierarchy (proc(5)).
    package static func mountPoint(mountInfo text: String) -> String? {
        var found: String?
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard let dash = fields.firstIndex(of: "-"), dash >= 6, dash + 1 < fields.count,
                fields[dash + 1] == "cgroup2"
            else { continue }
            let path = Self.unescaped(fields[4])
            if fields[3] == "/" { return path }
            found = found ?? path
        }
        return found
    }

    /// The v2 path in the text of `/proc/PID/cgroup` (cgroups(7)).
    package static func unifiedPath(processCgroup text: String) -> String? {
        text.split(separator: "\n").first(where: { $0.hasPrefix("0::/") }).map { String($0.dropFirst(3)) }
    }

    private static func mountPoint() throws(CLIError) -> String {
        guard let text = try? String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8),
            let path = Self.mountPoint(mountInfo: text)
        else {
            throw CLIError(
                "cgroup v2 is not mounted on this machine",
                hints: ["mount -t cgroup2 none /sys/fs/cgroup/unified", "What else is missing:  nodemeshctl check"])
        }
        return path
    }

    /// Enrolling the root would capture the whole machine, the daemon included.
    private static func refusingRoot(_ path: String, mount: String) throws(CLIError) -> String {
        guard path != mount else {
            throw CLIError(
                "refusing to enrol the root cgroup: it holds the whole machine",
                hints: ["Start the workload in a cgroup of its own:  systemd-run --unit=NAME COMMAND"])
        }
        return path
    }

    private static func isCgroup(_ path: String) -> Bool {
        FileManager.default.fileExists(atPath: path + "/cgroup.procs") && !path.split(separator: "/").contains("..")
    }

    /// `\040` and its like become the characters they stand for.
    private static func unescaped(_ field: Substring) -> String {
        var (bytes, rest) = ([UInt8](), Array(field.utf8)[...])
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), rest.count >= 3,
                let value = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8)
            {
                bytes.append(value)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

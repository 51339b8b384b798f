// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// A control group of the version 2 hierarchy.
package struct Cgroup: Hashable, Sendable {
    /// Its directory.
    package let path: String
    /// The kernel's id: never used twice while the machine is up.
    package let id: UInt64

    /// The cgroup with this directory.
    ///
    /// - Throws: ENOENT when it is gone, EINVAL when the directory is no cgroup v2.
    package init(path: String) throws(SystemError) {
        var status = stat()
        _ = try systemCall("stat") { stat(path, &status) }
        guard nm_filesystem_magic(path) == nm_cgroup2_magic, status.st_mode & S_IFMT == S_IFDIR else {
            throw SystemError(call: "statfs(cgroup2)", errno: EINVAL)
        }
        self.path = path
        self.id = UInt64(status.st_ino)
    }

    /// The cgroup with this id.
    ///
    /// - Throws: ESTALE when it is gone.
    package init(id: UInt64) throws(SystemError) {
        let mount = try FileDescriptor(path: try Self.mountPoint())
        let directory = FileDescriptor(
            owning: try systemCall("open_by_handle_at") { nm_open_cgroup_id(mount.raw, id) })
        self.path = try FileTree.target(of: "/proc/self/fd/\(directory.raw)")
        self.id = id
    }

    /// The cgroup of a process.
    package init(pid: Int32) throws(SystemError) {
        let text = try FileTree.text(of: "/proc/\(pid)/cgroup")
        guard let path = Self.unifiedPath(in: text) else { throw SystemError(call: "cgroup", errno: ENOENT) }
        let mount = try Self.mountPoint()
        try self.init(path: path == "/" ? mount : mount + path)
    }

    /// Where the version 2 hierarchy is mounted: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` next to version 1.
    package static func mountPoint() throws(SystemError) -> String {
        let text = try FileTree.text(of: "/proc/self/mountinfo")
        guard let path = Self.mountPoint(in: text) else { throw SystemError(call: "mount(cgroup2)", errno: ENOENT) }
        return path
    }

    /// The processes directly in this cgroup.
    package func processes() throws(SystemError) -> [Int32] {
        try FileTree.text(of: self.path + "/cgroup.procs").split(separator: "\n").compactMap { Int32($0) }
    }

    /// Moves a process here. Sockets it has opened before stay where they were.
    package func add(pid: Int32) throws(SystemError) {
        try FileTree.write("\(pid)", to: self.path + "/cgroup.procs")
    }

    /// Whether `other` is this cgroup or lies below it.
    package func contains(_ other: Cgroup) -> Bool {
        self.id == other.id || other.path.hasPrefix(self.path.hasSuffix("/") ? self.path : self.path + "/")
    }

    /// Finds the cgroup2 mount in the text of `/proc/self/mountinfo`.
    static func mountPoint(in mountInfo: String) -> String? {
        for line in mountInfo.split(separator: "\n") {
            // Optional fields stand between the fifth field and a lone "-", the file system type after it.
            let fields = line.split(separator: " ")
            guard fields.count > 6, let dash = fields.firstIndex(of: "-"), dash + 1 < fields.count,
                fields[dash + 1] == "cgroup2"
            else { continue }
            return Self.unescaped(fields[4])
        }
        return nil
    }

    /// The version 2 line of `/proc/PID/cgroup`.
    static func unifiedPath(in text: String) -> String? {
        text.split(separator: "\n").first { $0.hasPrefix("0::/") }.map { String($0.dropFirst(3)) }
    }

    /// The kernel writes space, tab, newline and backslash as three octal digits.
    private static func unescaped(_ field: Substring) -> String {
        var (bytes, rest) = ([UInt8](), field.utf8[...])
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), let code = UInt8(String(Substring(rest.prefix(3))), radix: 8) {
                bytes.append(code)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

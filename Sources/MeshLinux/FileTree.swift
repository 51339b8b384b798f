// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// Small files and directories of kernel file systems: proc, cgroup, bpf.
package enum FileTree {
    /// At most this much of a file is read; larger ones are refused with EFBIG.
    private static let limit = 16 << 20

    /// The whole text of a file.
    package static func text(of path: String) throws(SystemError) -> String {
        let file = try FileDescriptor(path: path)
        let raw = file.raw
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = try systemCall("read") { buffer.withUnsafeMutableBytes { read(raw, $0.baseAddress, $0.count) } }
            if count == 0 { return String(decoding: bytes, as: UTF8.self) }
            bytes += buffer[..<count]
            guard bytes.count <= Self.limit else { throw SystemError(call: "read", errno: EFBIG) }
        }
    }

    /// Writes `text` in one call to an existing file.
    package static func write(_ text: String, to path: String) throws(SystemError) {
        let raw = try systemCall("open") { open(path, O_WRONLY | O_CLOEXEC) }
        let file = FileDescriptor(owning: raw)
        var text = text
        _ = try systemCall("write") { text.withUTF8 { Glibc.write(file.raw, $0.baseAddress, $0.count) } }
    }

    /// The names in a directory, sorted, without `.` and `..`; nil when it does not exist.
    package static func names(in path: String) throws(SystemError) -> [String]? {
        guard let directory = opendir(path) else {
            let code = errno
            if code == ENOENT { return nil }
            throw SystemError(call: "opendir", errno: code)
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Not by access(2), which leaves out the capabilities of a process that is not root's.
    package static func exists(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0
    }

    package static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// Makes the directory for root alone; one that exists is no error.
    package static func makeDirectory(_ path: String) throws(SystemError) {
        do throws(SystemError) {
            _ = try systemCall("mkdir") { mkdir(path, 0o700) }
        } catch {
            guard error.errno == EEXIST else { throw error }
        }
    }

    package static func rename(_ old: String, to new: String) throws(SystemError) {
        _ = try systemCall("rename") { Glibc.rename(old, new) }
    }

    /// Removes a file, or a directory with everything in it; one that is not there is no error.
    package static func remove(_ path: String) throws(SystemError) {
        if Self.isDirectory(path) {
            for name in try Self.names(in: path) ?? [] { try Self.remove(path + "/" + name) }
            try Self.ignoringAbsence { () throws(SystemError) in _ = try systemCall("rmdir") { rmdir(path) } }
        } else {
            try Self.ignoringAbsence { () throws(SystemError) in _ = try systemCall("unlink") { unlink(path) } }
        }
    }

    /// Removes a directory without directories in it, as a cgroup's, whose files go by themselves; one that is not there
    /// is no error.
    package static func remove(directory path: String) throws(SystemError) {
        try Self.ignoringAbsence { () throws(SystemError) in _ = try systemCall("rmdir") { rmdir(path) } }
    }

    /// What a symbolic link points to.
    package static func target(of path: String) throws(SystemError) -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = try systemCall("readlink") {
            buffer.withUnsafeMutableBufferPointer { space in
                space.baseAddress.map { readlink(path, $0, space.count) } ?? -1
            }
        }
        return String(decoding: buffer[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// Opens a directory and locks it for this descriptor (`flock(2)`); nil when somebody else holds the lock.
    package static func lock(directory path: String) throws(SystemError) -> FileDescriptor? {
        let directory = try FileDescriptor(path: path)
        let raw = directory.raw
        switch try nonBlockingCall("flock", { flock(raw, LOCK_EX | LOCK_NB) }) {
        case .done: return directory
        case .wouldBlock: return nil
        }
    }

    /// Whether the bpf file system is mounted at `path`.
    package static func isBPF(_ path: String) -> Bool { nm_filesystem_magic(path) == nm_bpffs_magic }

    private static func ignoringAbsence(_ body: () throws(SystemError) -> Void) throws(SystemError) {
        do throws(SystemError) {
            try body()
        } catch {
            guard error.errno == ENOENT else { throw error }
        }
    }
}

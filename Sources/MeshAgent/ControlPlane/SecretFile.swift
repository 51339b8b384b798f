// SPDX-License-Identifier: Apache-2.0

import Glibc
import MeshLinux

/// Files that only root reads, replaced as a whole: after a crash there is the old content or the new.
enum SecretFile {
    private static let maximumBytes = 1 << 20

    /// Makes the directory, mode 0700, with its parents; an existing one gets that mode.
    static func prepare(directory: String) throws(ControlPlaneError) {
        do throws(SystemError) {
            var path = ""
            for part in directory.split(separator: "/", omittingEmptySubsequences: true) {
                path += path.isEmpty && !directory.hasPrefix("/") ? String(part) : "/\(part)"
                try FileTree.makeDirectory(path)
            }
            // Not when it is so already: on a read-only file system that would be an error.
            if try FileAccess(path: directory).mode & 0o777 != 0o700 {
                _ = try systemCall("chmod") { chmod(directory, 0o700) }
            }
        } catch {
            throw ControlPlaneError(.storage, "the directory \(directory) cannot be made: \(error)")
        }
    }

    /// nil when there is no such file.
    static func read(_ path: String) throws(ControlPlaneError) -> String? {
        do throws(SystemError) {
            let file = try FileDescriptor(path: path)
            return String(decoding: try Self.content(file, limit: Self.maximumBytes), as: UTF8.self)
        } catch {
            if error.errno == ENOENT { return nil }
            throw ControlPlaneError(.storage, "\(path) cannot be read: \(error)")
        }
    }

    /// nil when there is no such file. Refuses one that another user owns, or that others may read or write.
    static func readPrivate(_ path: String, limit: Int) throws(StateRefusal) -> [UInt8]? {
        do throws(SystemError) {
            let file = try FileDescriptor(path: path)
            let access = try FileAccess(file)
            guard access.isRegular, access.owner == geteuid(), access.mode & 0o077 == 0 else {
                throw SystemError(call: "open", errno: EPERM)
            }
            return try Self.content(file, limit: limit)
        } catch {
            switch error.errno {
            case ENOENT: return nil
            case EPERM:
                throw StateRefusal(
                    .exposed, "is not a file of nodemeshd's own user with mode 0600, so others may have changed it")
            default: throw StateRefusal(.unreadable, "cannot be read: \(error)")
            }
        }
    }

    private static func content(_ file: borrowing FileDescriptor, limit: Int) throws(SystemError) -> [UInt8] {
        let raw = file.raw
        var (bytes, buffer) = ([UInt8](), [UInt8](repeating: 0, count: 65_536))
        while true {
            let count = try systemCall("read") {
                buffer.withUnsafeMutableBytes { Glibc.read(raw, $0.baseAddress, $0.count) }
            }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
            guard bytes.count <= limit else { throw SystemError(call: "read", errno: EFBIG) }
        }
    }

    /// One that is not there is no error, nor is one that cannot be removed.
    static func remove(_ path: String) { try? FileTree.remove(path) }

    static func write(_ text: String, to path: String) throws(ControlPlaneError) {
        try Self.write(bytes: Array(text.utf8), to: path)
    }

    static func write(bytes: [UInt8], to path: String) throws(ControlPlaneError) {
        let temporary = path + ".new"
        do throws(SystemError) {
            try FileTree.remove(temporary)
            let raw = try systemCall("open") {
                open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
            }
            let file = FileDescriptor(owning: raw)
            var written = 0
            while written < bytes.count {
                let rest = bytes[written...]
                written += try systemCall("write") {
                    rest.withUnsafeBytes { Glibc.write(raw, $0.baseAddress, $0.count) }
                }
            }
            _ = try systemCall("fsync") { fsync(raw) }
            _ = consume file
            try FileTree.rename(temporary, to: path)
            try Self.synchronise(directoryOf: path)
        } catch {
            // On a full disk its bytes are wanted back.
            Self.remove(temporary)
            throw ControlPlaneError(.storage, "\(path) cannot be written: \(error)")
        }
    }

    /// Makes a rename outlive a power failure.
    private static func synchronise(directoryOf path: String) throws(SystemError) {
        let directory = try FileDescriptor(path: path.lastIndex(of: "/").map { String(path[...$0]) } ?? ".")
        let raw = directory.raw
        _ = try systemCall("fsync") { fsync(raw) }
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
@preconcurrency import Glibc

/// Files that only their owner may read: the database, keys, tokens.
package enum PrivateFile {
    /// Makes `path` an empty file of mode 0600 unless it exists; an existing one gets that mode.
    package static func prepare(_ path: String) throws(StoreError) {
        let descriptor = open(path, O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failure("open", path) }
        defer { close(descriptor) }
        guard fchmod(descriptor, 0o600) == 0 else { throw failure("set the mode of", path) }
    }

    /// Makes a directory of mode 0700, with its parents, unless it exists.
    package static func prepareDirectory(_ path: String) throws(StoreError) {
        if FileManager.default.fileExists(atPath: path) { return }
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw StoreError(.unavailable, "cannot make the directory \(path): \(error.localizedDescription)")
        }
    }

    /// The whole content; nil when there is no such file. Refuses what is larger than `limit` bytes.
    package static func read(_ path: String, limit: Int = 1 << 20) throws(StoreError) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0, errno == ENOENT { return nil }
        guard descriptor >= 0 else { throw failure("read", path) }
        defer { close(descriptor) }
        var (content, buffer) = ([UInt8](), [UInt8](repeating: 0, count: 16_384))
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure("read", path) }
            if count == 0 { return content }
            content += buffer[..<count]
            guard content.count <= limit else {
                throw StoreError(.unavailable, "\(path) is larger than \(limit) bytes")
            }
        }
    }

    /// Replaces the content so that a crash leaves the old file or the new one, never a part.
    package static func write(_ content: some Collection<UInt8>, to path: String, mode: mode_t = 0o600)
        throws(StoreError)
    {
        let temporary = path + ".new"
        unlink(temporary)
        let descriptor = open(temporary, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw failure("write", temporary) }
        do {
            defer { close(descriptor) }
            guard fchmod(descriptor, mode) == 0 else { throw failure("set the mode of", temporary) }
            var rest = Array(content)[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { throw failure("write", temporary) }
                rest = rest.dropFirst(count)
            }
            guard fsync(descriptor) == 0 else { throw failure("write", temporary) }
        }
        guard rename(temporary, path) == 0 else { throw failure("write", path) }
        let directory = open(path.contains("/") ? (path as NSString).deletingLastPathComponent : ".", O_RDONLY)
        if directory >= 0 {
            fsync(directory)
            close(directory)
        }
    }

    private static func failure(_ verb: String, _ path: String) -> StoreError {
        StoreError(.unavailable, "cannot \(verb) \(path): \(String(cString: strerror(errno)))")
    }
}

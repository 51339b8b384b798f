// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Lines in a file that is put away when it is large, or on standard output.
final class FileSink: AccessLogSink {
    /// nil: standard output.
    private let path: String?
    private let maxSize: Int
    private let keep: Int
    private var descriptor: CInt
    private var size: Int
    /// The last write ended inside a line.
    private var isTorn = false
    /// Putting the file away failed at this size; it is tried again when it has grown as much once more.
    private var failedAt = 0

    /// - Parameters:
    ///   - path: nil: standard output.
    ///   - maxSize: bytes from which on the file is put away; 0: never.
    ///   - keep: files put away that are kept; 0: it begins anew in place.
    init(path: String?, maxSize: Int, keep: Int) throws(AccessLogError) {
        self.path = path
        self.maxSize = path == nil ? 0 : maxSize
        self.keep = keep
        self.descriptor = try path.map { path throws(AccessLogError) in try Self.open(path) } ?? STDOUT_FILENO
        self.size = Self.size(of: self.descriptor)
    }

    deinit { if self.path != nil { _ = Glibc.close(self.descriptor) } }

    private static func open(_ path: String) throws(AccessLogError) -> CInt {
        let descriptor = Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o640)
        if descriptor < 0 { throw AccessLogError(path: path, errno: Glibc.errno) }
        return descriptor
    }

    /// 0 for what is no ordinary file.
    private static func size(of descriptor: CInt) -> Int {
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return 0 }
        return Int(status.st_size)
    }

    func write(_ lines: [AccessLogText]) -> Int {
        var written = 0
        var index = 0
        while index < lines.count {
            if self.isDue { self.rotate() }
            // Up to the size at which the file is put away.
            var bytes: [UInt8] = self.isTorn ? [UInt8(ascii: "\n")] : []
            let start = index
            var ends: [Int] = []
            repeat {
                bytes.append(contentsOf: lines[index].text.utf8)
                ends.append(bytes.count)
                index += 1
            } while index < lines.count && (self.maxSize == 0 || self.size + bytes.count < self.maxSize)
            let count = self.writeAll(bytes)
            self.size += count
            written = start + ends.count { $0 <= count }
            if count < bytes.count { return written }
        }
        return written
    }

    func reopen() {
        guard let path = self.path, let new = try? Self.open(path) else { return }
        _ = Glibc.close(self.descriptor)
        self.descriptor = new
        self.size = Self.size(of: new)
        self.isTorn = false
        self.failedAt = 0
    }

    // MARK: - Putting away

    private var isDue: Bool {
        self.maxSize > 0 && self.size >= self.maxSize
            && (self.failedAt == 0 || self.size >= self.failedAt + self.maxSize)
    }

    /// `NAME.1` becomes `NAME.2` and so on, `NAME` becomes `NAME.1`. What fails leaves the file as it is.
    private func rotate() {
        guard let path = self.path else { return }
        if self.keep == 0 {
            self.failedAt = ftruncate(self.descriptor, 0) == 0 ? 0 : self.size
            self.size = Self.size(of: self.descriptor)
            return
        }
        for number in stride(from: self.keep - 1, to: 0, by: -1) {
            _ = Glibc.rename("\(path).\(number)", "\(path).\(number + 1)")
        }
        guard Glibc.rename(path, "\(path).1") == 0 else {
            self.failedAt = self.size
            return
        }
        let old = self.descriptor
        self.reopen()
        if self.descriptor == old { self.failedAt = self.size }
    }

    // MARK: - Writing

    /// - Returns: bytes written; fewer than there are when the rest cannot be: a full disk, a closed pipe.
    private func writeAll(_ bytes: [UInt8]) -> Int {
        var offset = 0
        while offset < bytes.count {
            let result = bytes.withUnsafeBytes { buffer in
                Glibc.write(self.descriptor, buffer.baseAddress.map { $0 + offset }, buffer.count - offset)
            }
            if result >= 0 {
                offset += result
                continue
            }
            switch Glibc.errno {
            case EINTR:
                continue
            case EAGAIN:
                // Standard output may be a pipe that somebody else made non-blocking.
                var ready = pollfd(fd: self.descriptor, events: Int16(POLLOUT), revents: 0)
                _ = poll(&ready, 1, 1000)
            default:
                if offset > 0 { self.isTorn = bytes[offset - 1] != UInt8(ascii: "\n") }
                return offset
            }
        }
        self.isTorn = false
        return offset
    }
}

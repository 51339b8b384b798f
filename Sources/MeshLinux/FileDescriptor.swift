// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// An open file descriptor with one owner, closed when the owner ends.
package struct FileDescriptor: ~Copyable, Sendable {
    /// The number, valid while this value lives.
    package let raw: CInt

    /// Takes ownership of `raw`, which must be open and owned by nobody else.
    package init(owning raw: CInt) { self.raw = raw }

    /// Opens an existing file for reading (`open(2)` with O_CLOEXEC).
    package init(path: String) throws(SystemError) {
        self.raw = try systemCall("open") { nm_open_read(path) }
    }

    /// Gives the number away; the caller now has to close it.
    package consuming func release() -> CInt {
        let raw = self.raw
        discard self
        return raw
    }

    /// A second descriptor of the same open file (`F_DUPFD_CLOEXEC`).
    package borrowing func duplicate() throws(SystemError) -> FileDescriptor {
        let raw = self.raw
        return FileDescriptor(owning: try systemCall("fcntl") { fcntl(raw, F_DUPFD_CLOEXEC, 0) })
    }

    // Never retried: on Linux the descriptor is gone even when close(2) reports EINTR.
    deinit { _ = Glibc.close(self.raw) }
}

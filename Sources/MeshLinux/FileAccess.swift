// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Whose a file is, and who may do what with it (`stat(2)`).
package struct FileAccess: Sendable {
    /// Neither a directory nor anything special.
    package let isRegular: Bool
    /// The owner's user id.
    package let owner: UInt32
    /// The permission bits.
    package let mode: UInt32

    private init(_ status: stat) {
        self.isRegular = status.st_mode & S_IFMT == S_IFREG
        self.owner = status.st_uid
        self.mode = status.st_mode & 0o7777
    }

    package init(path: String) throws(SystemError) {
        var status = stat()
        _ = try systemCall("stat") { stat(path, &status) }
        self.init(status)
    }

    package init(_ file: borrowing FileDescriptor) throws(SystemError) {
        let raw = file.raw
        var status = stat()
        _ = try systemCall("fstat") { fstat(raw, &status) }
        self.init(status)
    }
}

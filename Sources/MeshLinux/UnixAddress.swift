// SPDX-License-Identifier: Apache-2.0
import CMeshLinux

/// Where a Unix socket is found: a path, or a name in the abstract name space, written `@name`.
package struct UnixAddress: Sendable, Hashable, CustomStringConvertible {
    /// Without the sign of an abstract name.
    private let name: String
    private let isAbstract: Bool

    /// - Parameter text: an absolute path or `@name`; nil for anything else.
    package init?(_ text: String) {
        guard let first = text.first, text.utf8.count > 1, !text.utf8.contains(0) else { return nil }
        switch first {
        case "/": (self.name, self.isAbstract) = (text, false)
        case "@": (self.name, self.isAbstract) = (String(text.dropFirst()), true)
        default: return nil
        }
    }

    package var description: String { self.isAbstract ? "@\(self.name)" : self.name }

    /// - Throws: ENAMETOOLONG among what `bind(2)` says.
    package func bind(_ fd: CInt) throws(SystemError) {
        _ = try systemCall("bind") {
            self.name.withCString { nm_unix_bind(fd, $0, self.name.utf8.count, self.isAbstract ? 1 : 0) }
        }
    }

    package func connect(_ fd: CInt) throws(SystemError) {
        _ = try systemCall("connect") {
            self.name.withCString { nm_unix_connect(fd, $0, self.name.utf8.count, self.isAbstract ? 1 : 0) }
        }
    }
}

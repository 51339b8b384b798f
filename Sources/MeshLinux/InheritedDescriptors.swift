// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// The descriptors that a service manager passed to this process (`sd_listen_fds_with_names(3)`). Closes what nobody
/// has taken.
package struct InheritedDescriptors: ~Copyable {
    /// Those passed begin here.
    private static let first: CInt = 3

    private var open: [(name: String, descriptor: CInt)]

    /// Takes what this process's environment tells of; call it once, before anything else opens descriptors.
    ///
    /// - Parameter first: another number than the convention's, for tests.
    package init(environment: [String: String], pid: Int32 = getpid(), first: CInt = Self.first) {
        self.open = []
        guard environment["LISTEN_PID"].flatMap(Int32.init) == pid,
            let count = environment["LISTEN_FDS"].flatMap(CInt.init), count > 0, count < 1 << 20
        else { return }
        let names = (environment["LISTEN_FDNAMES"] ?? "").split(separator: ":", omittingEmptySubsequences: false)
        for offset in 0..<count {
            let descriptor = first + offset
            // What is not open is nobody's to close.
            guard nm_set_close_on_exec(descriptor, 1) == 0 else { continue }
            let name = Int(offset) < names.count ? String(names[Int(offset)]) : "unknown"
            self.open.append((name, descriptor))
        }
    }

    /// The names of what is left, in order, repeated for several of one name.
    package var names: [String] { self.open.map(\.name) }

    /// The first descriptor of that name.
    package mutating func take(_ name: String) -> FileDescriptor? {
        guard let index = self.open.firstIndex(where: { $0.name == name }) else { return nil }
        return FileDescriptor(owning: self.open.remove(at: index).descriptor)
    }

    deinit { for (_, descriptor) in self.open { _ = Glibc.close(descriptor) } }
}

// SPDX-License-Identifier: Apache-2.0
import CMeshLinux
import Glibc

/// This process's program.
package enum ProcessImage {
    /// Starts the program anew in this very process: same id, same place among processes; every thread ends. Returns
    /// only by throwing.
    ///
    /// - Parameters:
    ///   - arguments: with the program's own name first.
    ///   - descriptors: stay open; all others that are close-on-exec are closed. They become those from number 3 on, as
    ///     a service manager would pass them.
    ///   - names: of the descriptors, for LISTEN_FDNAMES.
    package static func restart(
        arguments: [String], environment: [String: String], descriptors: [CInt], names: [String]
    ) throws(SystemError) -> Never {
        // Out of the way of their own new places first.
        var high: [CInt] = []
        for descriptor in descriptors {
            high.append(
                try systemCall("fcntl") { fcntl(descriptor, F_DUPFD_CLOEXEC, 3 + CInt(descriptors.count)) })
        }
        for (index, descriptor) in high.enumerated() {
            _ = try systemCall("dup2") { dup2(descriptor, 3 + CInt(index)) }
        }
        var environment = environment
        environment["LISTEN_PID"] = "\(getpid())"
        environment["LISTEN_FDS"] = "\(descriptors.count)"
        environment["LISTEN_FDNAMES"] = names.joined(separator: ":")
        let words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        let lines: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        _ = words.withUnsafeBufferPointer { words in
            lines.withUnsafeBufferPointer { lines in nm_execute("/proc/self/exe", words.baseAddress, lines.baseAddress)
            }
        }
        let code = errno
        throw SystemError(call: "execve", errno: code)
    }

    /// Whether the file at `path` is another than the one this process runs; true also when it is not there.
    package static func isReplaced(by path: String) -> Bool {
        var (own, other) = (stat(), stat())
        guard stat("/proc/self/exe", &own) == 0, stat(path, &other) == 0 else { return true }
        return own.st_ino != other.st_ino || own.st_dev != other.st_dev
    }

    /// Ends the process at once: nothing is flushed, closed or said.
    package static func exit(_ code: Int32) -> Never { _exit(code) }
}

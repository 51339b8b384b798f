// SPDX-License-Identifier: Apache-2.0

import Glibc
import MeshLinux
import MeshSteering

/// What putting a node up and taking it down needs of the machine. Tests bind their own.
package protocol NodeHost: Sendable {
    var isRoot: Bool { get }
    /// systemd runs this machine (sd_booted(3)).
    var hasSystemd: Bool { get }
    func exists(_ path: String) -> Bool
    /// A file's text; nil when there is no such file.
    func text(of path: String) throws(CLIError) -> String?
    /// Puts a file there as a whole: after a crash there is the old content or the new.
    func replace(_ path: String, with text: String, mode: UInt32) throws(CLIError)
    /// Removes a file, or a directory with everything in it; one that is not there is no error.
    func remove(_ path: String) throws(CLIError)
    /// Runs a program to its end, in the caller's sight: what it writes to standard error is shown.
    ///
    /// - Returns: its exit code and what it wrote to standard output; nil when there is no such program.
    func run(_ program: String, _ arguments: [String], isQuiet: Bool) throws(CLIError) -> ChildProcess.Result?
    /// The process that listens on a Unix socket; nil when nobody does.
    func process(listeningAt socket: String) -> Int32?
    /// Asks a process to end (SIGTERM).
    func terminate(_ process: Int32)
    /// How much of an instance is in the kernel.
    func pinned(instance: String) throws(SteeringError) -> Int
    /// Takes an instance out of the kernel, or leaves its programs to refuse.
    func detach(instance: String, leaving: Leaving) throws(SteeringError)
    func pause(milliseconds: Int) async
}

/// What becomes of workloads' connections when the node daemon is gone for good.
package enum Leaving: String, CaseIterable, Sendable {
    /// They go where they would go without a mesh, in clear text.
    case open
    /// They are refused.
    case refused
}

/// This machine.
package struct LocalNodeHost: NodeHost {
    package init() {}

    package var isRoot: Bool { geteuid() == 0 }
    package var hasSystemd: Bool { FileTree.isDirectory("/run/systemd/system") }

    package func exists(_ path: String) -> Bool { FileTree.exists(path) }

    package func text(of path: String) throws(CLIError) -> String? {
        do throws(SystemError) {
            return try FileTree.text(of: path)
        } catch {
            if error.errno == ENOENT { return nil }
            throw CLIError("cannot read \(path): \(error)")
        }
    }

    package func replace(_ path: String, with text: String, mode: UInt32) throws(CLIError) {
        let temporary = path + ".new"
        do throws(SystemError) {
            if let slash = path.lastIndex(of: "/") { try Self.makeDirectories(String(path[..<slash])) }
            try FileTree.remove(temporary)
            let raw = try systemCall("open") {
                open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
            }
            let file = FileDescriptor(owning: raw)
            // Whatever the umask says.
            _ = try systemCall("fchmod") { fchmod(file.raw, mode) }
            var rest = Array(text.utf8)[...]
            while !rest.isEmpty {
                let count = try systemCall("write") {
                    rest.withUnsafeBytes { write(file.raw, $0.baseAddress, $0.count) }
                }
                rest = rest.dropFirst(count)
            }
            _ = try systemCall("fsync") { fsync(file.raw) }
            try FileTree.rename(temporary, to: path)
        } catch {
            throw CLIError("cannot write \(path): \(error)")
        }
    }

    private static func makeDirectories(_ path: String) throws(SystemError) {
        guard !path.isEmpty, !FileTree.isDirectory(path) else { return }
        if let slash = path.lastIndex(of: "/") { try Self.makeDirectories(String(path[..<slash])) }
        _ = try systemCall("mkdir") { mkdir(path, 0o755) }
    }

    package func remove(_ path: String) throws(CLIError) {
        do throws(SystemError) {
            try FileTree.remove(path)
        } catch {
            throw CLIError("cannot remove \(path): \(error)")
        }
    }

    package func run(
        _ program: String, _ arguments: [String], isQuiet: Bool
    ) throws(CLIError) -> ChildProcess.Result? {
        let places = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        let path = program.hasPrefix("/") ? program : places.map { "\($0)/\(program)" }.first(where: self.exists)
        guard let path else { return nil }
        do throws(SystemError) {
            return try ChildProcess.run(
                path, arguments, environment: ["PATH=\(places.joined(separator: ":"))", "LANG=C.UTF-8"],
                isQuiet: isQuiet, timeout: 120_000)
        } catch {
            if error.errno == ENOENT { return nil }
            throw CLIError("\(program) \(arguments.first ?? "") did not come to an end: \(error)")
        }
    }

    package func process(listeningAt socket: String) -> Int32? { try? SocketOwner.process(listeningAt: socket) }

    package func terminate(_ process: Int32) { _ = kill(process, SIGTERM) }

    package func pinned(instance: String) throws(SteeringError) -> Int { try Steering.pinned(instance: instance) }

    package func detach(instance: String, leaving: Leaving) throws(SteeringError) {
        switch leaving {
        case .open: try Steering.removeAll(instance: instance)
        case .refused: try Steering.refuseAll(instance: instance)
        }
        DaemonCgroup.remove(instance: instance)
    }

    package func pause(milliseconds: Int) async { try? await Task.sleep(for: .milliseconds(milliseconds)) }
}

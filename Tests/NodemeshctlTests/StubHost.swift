// SPDX-License-Identifier: Apache-2.0

import MeshCLI
import MeshLinux
import MeshSteering
import Synchronization

/// A machine of files and answers, that remembers what was done to it.
final class StubHost: NodeHost {
    let isRoot: Bool
    let hasSystemd: Bool
    private let answers: [String: ChildProcess.Result]
    private let busy: Mutex<Int>
    private let state: Mutex<(files: [String: String], done: [String], listener: Int32?)>

    /// - Parameters:
    ///   - answers: by command line; a command that is not there ends with 0 and says nothing.
    ///   - listener: the daemon's process; it goes when it is told to.
    ///   - busy: how often the instance is in use before it can be detached.
    init(
        files: [String: String] = [:], answers: [String: ChildProcess.Result] = [:], isRoot: Bool = true,
        hasSystemd: Bool = true, listener: Int32? = nil, busy: Int = 0
    ) {
        (self.isRoot, self.hasSystemd, self.answers) = (isRoot, hasSystemd, answers)
        self.busy = Mutex(busy)
        self.state = Mutex((files, [], listener))
    }

    var files: [String: String] { self.state.withLock { $0.files } }
    var done: [String] { self.state.withLock { $0.done } }

    func exists(_ path: String) -> Bool { self.files.keys.contains { $0 == path || $0.hasPrefix(path + "/") } }
    func text(of path: String) throws(CLIError) -> String? { self.files[path] }

    func replace(_ path: String, with text: String, mode: UInt32) throws(CLIError) {
        self.state.withLock {
            $0.files[path] = text
            $0.done.append("write \(path) \(String(mode, radix: 8))")
        }
    }

    func remove(_ path: String) throws(CLIError) {
        self.state.withLock { state in
            state.files = state.files.filter { $0.key != path && !$0.key.hasPrefix(path + "/") }
            state.done.append("remove \(path)")
        }
    }

    func run(_ program: String, _ arguments: [String], isQuiet: Bool) throws(CLIError) -> ChildProcess.Result? {
        let line = ([program] + arguments).joined(separator: " ")
        self.state.withLock { $0.done.append(line) }
        return self.answers[line] ?? ChildProcess.Result(code: 0, output: "")
    }

    func process(listeningAt socket: String) -> Int32? { self.state.withLock { $0.listener } }

    func terminate(_ process: Int32) {
        self.state.withLock {
            $0.listener = nil
            $0.done.append("terminate \(process)")
        }
    }

    func pinned(instance: String) throws(SteeringError) -> Int { 7 }

    func detach(instance: String, leaving: Leaving) throws(SteeringError) {
        let isBusy = self.busy.withLock { left in
            left -= 1
            return left >= 0
        }
        if isBusy { throw SteeringError(.inUse, "another process steers as instance \"\(instance)\"") }
        self.state.withLock { $0.done.append("detach \(instance) \(leaving)") }
    }

    func pause(milliseconds: Int) async {}
}

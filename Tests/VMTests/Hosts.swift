// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

/// Hosts of `Tools/hosts`, booted to systemd, that go away with the test.
struct Hosts: Sendable {
    /// A command's outcome; output and errors together, as on a terminal.
    struct Answer: CustomStringConvertible {
        let status: Int32
        let output: String
        var description: String { "status \(self.status): \(self.output)" }
    }

    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    /// A machine may be slow.
    private static let patience = Double(ProcessInfo.processInfo.environment["NODEMESH_PATIENCE"] ?? "") ?? 1

    /// Boots hosts, gives them to `body`, and takes them away whatever happens.
    static func with(_ names: String..., body: (Hosts) async throws -> Void) async throws {
        let hosts = Hosts()
        try await hosts.tool(["up"] + names)
        do {
            try await body(hosts)
        } catch {
            for name in names { await hosts.record(name) }
            _ = try? await hosts.tool(["down"])
            throw error
        }
        try await hosts.tool(["down"])
        try await hosts.tool(["leftovers"])
    }

    /// What a failed test is explained by.
    private func record(_ name: String) async {
        let log = try? await self.answer(name, "journalctl", "--no-pager", "-n", "40", "-u", "nodemesh*")
        print("\(name): \(log?.output ?? "does not run")")
    }

    @discardableResult
    func tool(_ arguments: [String]) async throws -> String {
        let answer = try await Self.run("Tools/hosts", arguments)
        try #require(answer.status == 0, "Tools/hosts \(arguments.joined(separator: " ")): \(answer)")
        return answer.output
    }

    /// Runs a command on a host.
    func answer(_ host: String, _ command: String...) async throws -> Answer {
        try await Self.run("Tools/hosts", ["exec", host, "--"] + command)
    }

    /// Runs a command on a host, which must succeed.
    @discardableResult
    func run(_ host: String, _ command: String...) async throws -> String {
        let answer = try await Self.run("Tools/hosts", ["exec", host, "--"] + command)
        try #require(answer.status == 0, "\(command.joined(separator: " ")) on \(host): \(answer)")
        return answer.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Runs lines of a shell on a host, which must all succeed.
    @discardableResult
    func shell(_ host: String, _ lines: String) async throws -> String {
        try await self.run(host, "bash", "-euc", lines)
    }

    /// Runs a command in the cgroup of a unit, as a process of that workload.
    func within(_ unit: String, on host: String, _ line: String) async throws -> Answer {
        try await self.answer(
            host, "bash", "-c", "echo $$ >/sys/fs/cgroup/system.slice/\(unit)/cgroup.procs && exec \(line)")
    }

    /// Asks again until `isRight`; for a minute, and longer on a slow machine.
    func eventually<T>(_ what: String, _ ask: () async throws -> T, _ isRight: (T) -> Bool) async throws {
        let deadline = ContinuousClock.now + .seconds(60 * Self.patience)
        while true {
            let value = try await ask()
            if isRight(value) { return }
            try #require(ContinuousClock.now < deadline, "waited in vain for \(what): \(value)")
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    static func run(_ program: String, _ arguments: [String]) async throws -> Answer {
        let process = try Self.start(program, arguments)
        let pipe = process.standardOutput as? Pipe
        let data = try await Task.detached { try pipe?.fileHandleForReading.readToEnd() ?? Data() }.value
        process.waitUntilExit()
        return Answer(status: process.terminationStatus, output: String(decoding: data, as: UTF8.self))
    }

    /// Starts a tool of this repository, or a program of this machine; its output is in a pipe.
    static func start(_ program: String, _ arguments: [String]) throws -> Process {
        let process = Process()
        process.currentDirectoryURL = Self.root
        process.executableURL =
            program.contains("/") ? Self.root.appending(path: program) : URL(filePath: "/usr/bin/env")
        process.arguments = program.contains("/") ? arguments : [program] + arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        try process.run()
        return process
    }
}

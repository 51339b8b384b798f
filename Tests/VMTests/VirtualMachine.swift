// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

/// One run of `Tools/vm`.
struct VirtualMachine {
    /// What the command printed.
    let output: [String]
    let status: Int32

    /// - Parameters:
    ///   - program: of this package's products; the command is in its words.
    ///   - options: for `Tools/vm run`.
    static func run(_ program: String, _ arguments: [String], options: [String]) async throws -> VirtualMachine {
        let options = options + ["--file", ".build/debug/\(program):/bin/\(program)"]
        return try await Self.tool(["run"] + options + ["--", "/bin/\(program)"] + arguments)
    }

    /// Runs tests of this package, in a machine that has all of it.
    ///
    /// - Parameters:
    ///   - filters: regular expressions on the tests' names.
    ///   - skipped: the same, on those that do not run.
    static func runTests(
        _ filters: [String], except skipped: [String] = [], kernel: String, seconds: Int
    ) async throws -> VirtualMachine {
        // Patience: it is emulated, and beside whatever else this machine does.
        let options = "--project --memory 2048 --env NO_COLOR=1 --env NODEMESH_PATIENCE=4 --kernel \(kernel)"
        let bundle = ".build/debug/nodemeshPackageTests.xctest --testing-library swift-testing --no-parallel"
        return try await Self.tool(
            "run \(options) --timeout \(seconds) -- \(bundle)".split(separator: " ").map(String.init)
                + filters.flatMap { ["--filter", $0] }
                + skipped.flatMap { ["--skip", $0] })
    }

    /// Runs `Tools/disrupt` in a machine that has all of the project.
    static func disrupt(_ arguments: [String], seconds: Int) async throws -> VirtualMachine {
        let options = "run --project --memory 2048 --env NODEMESH_PATIENCE=10 --timeout \(seconds) -- Tools/disrupt"
        return try await Self.tool(options.split(separator: " ").map(String.init) + arguments)
    }

    /// The kernels that `Tools/vm` knows, by series.
    static func kernels() async throws -> [String] { try await Self.tool(["list", "--quiet"]).output }

    private static func tool(_ arguments: [String]) async throws -> VirtualMachine {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let process = Process()
        process.currentDirectoryURL = root
        process.executableURL = root.appending(path: "Tools/vm")
        process.arguments = arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let text = try await Task.detached { try pipe.fileHandleForReading.readToEnd() ?? Data() }.value
        process.waitUntilExit()
        return VirtualMachine(
            output: String(decoding: text, as: UTF8.self).split(whereSeparator: \.isNewline).map(String.init),
            status: process.terminationStatus)
    }

    /// Fails the test for each scenario that failed, and when not all came to an end.
    func expectSuccess(atLeast count: Int) {
        for line in self.output where line.hasPrefix("FAILED ") { Issue.record("\(line)") }
        let passed = self.output.filter { $0.hasPrefix("ok ") }.count
        #expect(passed >= count, "only \(passed) scenarios passed")
        #expect(self.status == 0, "\(self.output.suffix(20).joined(separator: "\n"))")
    }

    /// Fails the test for each of the machine's tests that failed or was skipped, and when fewer than `count` ran.
    func expectTests(atLeast count: Int) {
        for line in self.output where line.contains("recorded an issue") || line.hasPrefix("➜") {
            Issue.record("\(line)")
        }
        let summary = self.output.last { $0.contains("Test run with ") }
        let ran = summary?.split(separator: " ").lazy.compactMap { Int($0) }.first ?? 0
        #expect(ran >= count, "\(ran) tests ran")
        #expect(self.status == 0, "\(self.output.suffix(40).joined(separator: "\n"))")
    }
}

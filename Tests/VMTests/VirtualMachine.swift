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
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let process = Process()
        process.currentDirectoryURL = root
        process.executableURL = root.appending(path: "Tools/vm")
        process.arguments =
            ["run"] + options + ["--file", ".build/debug/\(program):/bin/\(program)", "--", "/bin/\(program)"]
            + arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let text = try await Task.detached { try pipe.fileHandleForReading.readToEnd() ?? Data() }.value
        process.waitUntilExit()
        return VirtualMachine(
            output: String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init),
            status: process.terminationStatus)
    }

    /// Fails the test for each scenario that failed, and when not all came to an end.
    func expectSuccess(atLeast count: Int) {
        for line in self.output where line.hasPrefix("FAILED ") { Issue.record("\(line)") }
        let passed = self.output.filter { $0.hasPrefix("ok ") }.count
        #expect(passed >= count, "only \(passed) scenarios passed")
        #expect(self.status == 0, "\(self.output.suffix(20).joined(separator: "\n"))")
    }
}

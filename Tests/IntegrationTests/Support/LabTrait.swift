// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Brings a lab up before a suite and takes it down after it; nothing may be left then.
struct LabTrait: SuiteTrait, TestScoping {
    var lab: Lab

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        // What an interrupted run left.
        try self.lab.run("down")
        try self.lab.run("up", "--quiet", "\(Lab.resources)/\(self.lab.topology).yaml", within: 300)
        do {
            try await Lab.$current.withValue(self.lab) { try await function() }
        } catch {
            try self.close()
            throw error
        }
        try self.close()
    }

    private func close() throws {
        self.keepLogs()
        try self.lab.run("down")
        let left = try Program.run([Lab.tool, "--name", Lab.name, "leftovers"])
        #expect(left.status == 0, "\(left)")
    }

    /// Copies the daemons' logs to where a person asked for them, since `down` removes them.
    private func keepLogs() {
        guard let place = ProcessInfo.processInfo.environment["NODEMESH_TEST_LOG"] else { return }
        let copy = URL(filePath: "\(place)-\(self.lab.topology)")
        try? FileManager.default.removeItem(at: copy)
        try? FileManager.default.copyItem(at: URL(filePath: "/run/nodemesh-lab/\(Lab.name)/logs"), to: copy)
    }
}

extension Trait where Self == LabTrait {
    /// A lab of its own for a suite, from a topology file in Resources.
    static func lab(_ topology: String) -> Self { LabTrait(lab: Lab(topology: topology)) }
}

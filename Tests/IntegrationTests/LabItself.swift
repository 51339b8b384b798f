// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The lab must be trusted before what is tested in it.
@Suite("the lab itself", .serialized)
struct LabItself {
    private let lab = Lab(topology: "none")

    @Test(
        "an up that fails says why and leaves nothing",
        arguments: [
            ("command: 'false'\n    ports: [80]", "ended with status 1"),
            ("serviceAccount: BAD_NAME", "is not a name"),
            ("teapot: true", "unknown key 'teapot'"),
        ])
    func failedUp(_ line: String, _ reason: String) throws {
        let answer = try self.up(
            """
            nodes: [{name: n1}]
            workloads:
              - name: one
                node: n1
                \(line)
            """)
        #expect(answer.status != 0)
        #expect(answer.errors.contains(reason), "\(answer)")
        try self.expectNothing()
    }

    @Test("resources that the control plane refuses make up fail, with its words")
    func refusedResources() throws {
        let answer = try self.up(
            """
            nodes: [{name: n1}]
            resources:
              - {apiVersion: v1, kind: Service, metadata: {name: a, namespace: b}, spec: {teapot: 1}}
            """)
        #expect(answer.status != 0)
        #expect(answer.errors.contains("spec.teapot"), "\(answer)")
        try self.expectNothing()
    }

    @Test("down takes everything away after the daemons were killed")
    func downAfterKill() throws {
        let answer = try self.up(
            """
            nodes: [{name: n1}]
            workloads:
              - {name: one, node: n1}
            """)
        try #require(answer.status == 0, "\(answer)")
        try self.lab.run("kill", "n1", "-9")
        try self.lab.run("kill", "control", "-9")
        try self.lab.run("down")
        try self.expectNothing()
        // And again.
        try self.lab.run("down")
    }

    private func up(_ topology: String) throws -> ProgramResult {
        let file = FileManager.default.temporaryDirectory.appending(path: "nodemesh-\(UUID().uuidString).yaml")
        try Data(topology.utf8).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        return try Program.run([Lab.tool, "--name", Lab.name, "up", file.path], within: 180)
    }

    private func expectNothing() throws {
        let left = try Program.run([Lab.tool, "--name", Lab.name, "leftovers"])
        #expect(left.output == "nothing\n", "\(left)")
    }
}

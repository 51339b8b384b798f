// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

/// Two supervised nodes under load while their daemons are restarted, replaced and killed, in the size of continuous
/// integration: `Tools/disrupt` does more. See Resources/disruption.yaml.
@Suite("disruption", .serialized, .lab("disruption"))
struct Disruption {
    let lab = Lab.current
    static let far = "10.201.2.2"

    /// What `Tools/lab manager` says.
    struct ManagerStatus: Decodable {
        var main: Int32?
        var ready: Bool
        var restarts: Int
        var watchdogFailures: Int
        var stored: [String]
    }

    func manager(_ node: String) throws -> ManagerStatus {
        try JSONDecoder().decode(ManagerStatus.self, from: Data(self.lab.run("manager", node).output.utf8))
    }

    private func disrupt(_ mode: String, within seconds: Double) throws {
        let result = try Program.run(
            [
                Lab.repository.appending(path: "Tools/disrupt").path, mode, "--quick", "--running", "--lab", Lab.name,
                "--verbose",
            ], within: seconds)
        #expect(result.status == 0, "\(result)")
    }

    @Test("restarts, upgrades and take-overs: no reset, no wrong byte, no refused connect")
    func restarts() throws {
        try self.disrupt("restart", within: 240)
    }

    @Test("kill -9 every other second: only what cannot be carried fails")
    func crashes() throws {
        try self.disrupt("crash", within: 180)
    }

    @Test("kill -9 in the middle of starts: connects wait, and no byte is wrong")
    func starts() throws {
        try self.disrupt("starts", within: 240)
    }

    @Test("one restart after the other: descriptors, memory, pipes and map entries stay as they are")
    func soak() throws {
        try self.disrupt("soak", within: 240)
    }

    @Test("a daemon that does not say that all is well is started again")
    func watchdog() throws {
        _ = try eventually("n1 to be ready", { try self.manager("n1") }) { $0.ready }
        let before = try self.manager("n1")
        let pid = try #require(before.main)
        #expect(kill(pid, SIGSTOP) == 0)
        let after = try eventually("another daemon", within: 60, { try self.manager("n1") }) {
            $0.ready && $0.main != pid
        }
        #expect(after.watchdogFailures == before.watchdogFailures + 1)
        try self.expectTalk()
    }

    @Test("a successor that cannot read the state drains the daemon it replaces, and says so")
    func incompatible() throws {
        // nodemeshd as it is, under a name at which another one answers what it reads.
        let script = "/run/nodemesh-lab/\(Lab.name)/elsewhere"
        let build = Lab.repository.appending(path: ".build/debug/nodemeshd").path
        let program = ProcessInfo.processInfo.environment["NODEMESH_BIN"].map { "\($0)/nodemeshd" } ?? build
        try """
        #!/bin/bash
        [ "$1" = hand-over-formats ] && echo 900 901 || exec -a "$0" '\(program)' "$@"

        """.write(toFile: script, atomically: true, encoding: .utf8)
        #expect(chmod(script, 0o755) == 0)
        try self.lab.run("upgrade", "n1", "--binary", script)
        let mark = try self.log("n1").count
        try self.lab.run("restart", "n1")
        let lines = try self.log("n1").dropFirst(mark)
        #expect(lines.contains { $0.contains("connections are drained") && $0.contains("reads formats 900 to 901") })
        // But for the listeners, which are kept for a crash.
        let handOver = try self.lab.status("n1").handOver
        #expect(handOver?.kind != "restart" && handOver?.carried ?? 0 == 0)
        try self.expectTalk()
        // And back to one that reads what this one writes.
        try self.lab.run("upgrade", "n1")
        #expect(try self.lab.status("n1").handOver?.kind == "restart")
        try self.expectTalk()
    }

    func log(_ node: String) throws -> [Substring] {
        try String(contentsOfFile: self.lab.layout().node(node).log, encoding: .utf8).split(separator: "\n")
    }

    func expectTalk() throws {
        _ = try eventually(
            "alice to talk to far",
            {
                try self.lab.execute(
                    "alice",
                    [
                        "/usr/bin/python3", "-c",
                        "import socket; s = socket.create_connection(('\(Self.far)', 9001)); s.send(b'hi');"
                            + " print(s.recv(9).decode())",
                    ]
                ).output
            }
        ) { $0 == "hi\n" }
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

/// Daemons that begin to take over from a running one, and cannot: see Resources/successor.py.
extension Disruption {
    private func successor(_ how: String) throws -> String {
        let result = try self.startSuccessor(how).result(within: 90)
        #expect(result.status == 0, "\(result)")
        return result.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    private func startSuccessor(_ how: String) throws -> Program {
        let header = Lab.repository.appending(path: "bpf/include/nodemesh_abi.h")
        let line = try String(contentsOf: header, encoding: .utf8).split(separator: "\n").first {
            $0.hasPrefix("#define NM_ABI_VERSION ")
        }
        let abi = String(try #require(line?.split(separator: " ").last))
        let socket = "/run/nodemesh-lab/\(Lab.name)/nodes/n1/run/handover.sock"
        return try Program(["/usr/bin/python3", "\(Lab.resources)/successor.py", socket, how, abi])
    }

    /// One that has stopped.
    private func hangingSuccessor(_ how: String) throws -> Program {
        let successor = try self.startSuccessor(how)
        let pid = try eventually("the successor to hang", within: 60, { successor.output }) { $0.hasSuffix("\n") }
            .trimmingCharacters(in: .whitespacesAndNewlines)
        _ = try eventually(
            "process \(pid) to stop", { try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) }
        ) {
            $0.split(separator: ")").last?.hasPrefix(" T") == true
        }
        return successor
    }

    /// n1's service manager once its daemon is ready.
    private func ready() throws -> ManagerStatus {
        try eventually("n1 to be ready", within: 60, { try self.manager("n1") }) { $0.ready }
    }

    /// A conversation of alice with far: it says "one" at once, and "two" when its result is asked for.
    private func talk() throws -> Program {
        let talk = try self.lab.start(
            "alice",
            [
                "/usr/bin/python3", "-c",
                """
                import socket, sys
                s = socket.create_connection(("\(Self.far)", 9001))
                for word in "one", "two":
                    s.sendall(word.encode())
                    print(s.recv(9).decode(), flush=True)
                    sys.stdin.read()
                """,
            ])
        _ = try eventually("alice to be answered", { talk.outputLineCount }) { $0 == 1 }
        return talk
    }

    @Test(
        "a successor that dies with the state in its hands: the daemon it was to replace starts again with all it had")
    func successorDies() throws {
        let (before, started) = (try self.ready(), try self.lab.status("n1").startedAt)
        let talk = try self.talk()
        let mark = try self.log("n1").count
        #expect(try self.successor("dies") == "state 3")
        // It does not answer meanwhile.
        let back = try eventually("n1 to be back", within: 60, { try? self.lab.status("n1") }) {
            $0 != nil && $0?.startedAt != started && $0?.handOver != nil
        }
        let handOver = try #require(back?.handOver)
        #expect(try self.log("n1").dropFirst(mark).contains { $0.contains("did not take over") })
        #expect(handOver.carried > 0 && handOver.dropped.isEmpty)
        #expect(try talk.result().lines == ["one", "two"])
        let after = try self.ready()
        #expect(after.main == before.main && after.restarts == before.restarts)
        try self.expectTalk()
    }

    @Test("a successor that reads other formats: the running daemon drains, and says so to it and in its log")
    func successorIsNewer() throws {
        let before = try self.ready()
        let mark = try self.log("n1").count
        let told = try self.successor("newer")
        #expect(told.hasPrefix("refused True") && told.contains("reads state of format 900 to 901"), "\(told)")
        // Nobody waits for its end here but the service manager, which starts another one.
        _ = try eventually("another daemon", within: 60, { try self.manager("n1") }) {
            $0.ready && $0.main != before.main
        }
        #expect(
            try self.log("n1").dropFirst(mark).contains {
                $0.contains("connections are drained") && $0.contains("reads state of format 900 to 901")
            })
        try self.expectTalk()
    }

    @Test("a successor that hangs while it prepares itself: the running daemon goes on, and can be restarted")
    func successorHangsEarly() throws {
        let before = try self.ready()
        let talk = try self.talk()
        let successor = try self.hangingSuccessor("hangs-early")
        try self.expectTalk()
        #expect(try self.manager("n1").main == before.main)
        // The successor has the locks; the next daemon needs them.
        let mark = try self.log("n1").count
        try self.lab.run("restart", "n1")
        #expect(try self.lab.status("n1").handOver?.kind == "restart")
        #expect(try successor.result().status == SIGKILL)
        let lines = try self.log("n1").dropFirst(mark)
        #expect(lines.contains { $0.contains("killed the nodemeshd that was to take over") })
        #expect(!lines.contains { $0.contains("another nodemeshd runs") })
        #expect(try talk.result().lines == ["one", "two"])
        try self.expectTalk()
    }

    @Test(
        "a successor that hangs with the state in its hands: the daemon it was to replace starts again with all it had")
    func successorHangsLate() throws {
        let (before, started) = (try self.ready(), try self.lab.status("n1").startedAt)
        let talk = try self.talk()
        let mark = try self.log("n1").count
        let successor = try self.hangingSuccessor("hangs-late")
        let back = try eventually("n1 to be back", within: 90, { try? self.lab.status("n1") }) {
            $0 != nil && $0?.startedAt != started && $0?.handOver != nil
        }
        let handOver = try #require(back?.handOver)
        #expect(handOver.carried > 0 && handOver.dropped.isEmpty)
        #expect(try successor.result().status == SIGKILL)
        let lines = try self.log("n1").dropFirst(mark)
        #expect(lines.contains { $0.contains("did not take over") && $0.contains("said nothing") })
        #expect(try talk.result().lines == ["one", "two"])
        let after = try self.ready()
        #expect(after.main == before.main && after.restarts == before.restarts)
        #expect(after.watchdogFailures == before.watchdogFailures)
        try self.expectTalk()
    }

    @Test("a successor that is another node's: the running daemon goes on")
    func successorIsStrange() throws {
        let before = try self.ready()
        let talk = try self.talk()
        let told = try self.successor("stranger")
        #expect(told.hasPrefix("refused node n1"), "\(told)")
        #expect(try talk.result().lines == ["one", "two"])
        #expect(try self.manager("n1").main == before.main)
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

/// Daemons that begin to take over from a running one, and cannot: see Resources/successor.py.
extension Disruption {
    private func successor(_ how: String) throws -> String {
        let header = Lab.repository.appending(path: "bpf/include/nodemesh_abi.h")
        let line = try String(contentsOf: header, encoding: .utf8).split(separator: "\n").first {
            $0.hasPrefix("#define NM_ABI_VERSION ")
        }
        let abi = String(try #require(line?.split(separator: " ").last))
        let socket = "/run/nodemesh-lab/\(Lab.name)/nodes/n1/run/handover.sock"
        let result = try Program.run(
            ["/usr/bin/python3", "\(Lab.resources)/successor.py", socket, how, abi], within: 90)
        #expect(result.status == 0, "\(result)")
        return result.output.trimmingCharacters(in: .whitespacesAndNewlines)
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

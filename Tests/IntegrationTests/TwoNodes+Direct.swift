// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

extension TwoNodes {
    /// Connections between workloads of one node that pass the proxy by.
    @Suite("two nodes: direct path")
    struct Direct {
        let lab = Lab.current
        private let near = Server.near.address

        /// Connects until connections to a port go past the proxy.
        private func open(_ port: String, at address: String = Server.near.address) throws {
            _ = try eventually("the direct path to \(address):\(port)") {
                let mark = try self.lab.accessLogMark("n1")
                _ = try self.lab.peer("alice", "touch", address, port, "1")
                return try self.next(since: mark).wire
            } until: {
                $0 == "direct"
            }
        }

        /// The entry that follows a mark.
        private func next(since mark: Int) throws -> AccessEntry {
            let entries = try eventually("an entry of the access log", { try self.lab.accessLog("n1", since: mark) }) {
                !$0.isEmpty
            }
            return entries[0]
        }

        /// Runs one conversation on the direct path.
        private func converse(_ port: String, _ verb: String, _ arguments: String...) throws -> (
            answer: ProgramResult, entry: AccessEntry
        ) {
            try self.open(port)
            let mark = try self.lab.accessLogMark("n1")
            let command = ["/usr/bin/python3", "\(Lab.resources)/peer.py", verb, self.near, port] + arguments
            let answer = try self.lab.execute("alice", command, within: 60)
            let entry = try self.next(since: mark)
            #expect(entry.wire == "direct")
            return (answer, entry)
        }

        @Test("the first connection opens the direct path for the second, with everybody's own address")
        func addresses() throws {
            let address = try self.lab.address(of: "near")
            try self.open("7001", at: address)
            let mark = try self.lab.accessLogMark("n1")
            let answer = try self.lab.peer("alice", "where", address, "7001")
            let lines = answer.lines.map { $0.split(separator: " ").map(String.init) }
            try #require(lines.count == 2 && lines.allSatisfy { $0.count == 4 }, "\(answer)")
            #expect(Array(lines[0].prefix(2)) == [address, "7001"])
            #expect(lines[0][2] == TwoNodes.alice)
            #expect(Array(lines[1].prefix(2)) == Array(lines[0].suffix(2)))
            #expect(Array(lines[1].suffix(2)) == [self.near, "7001"])
            let entry = try self.next(since: mark)
            #expect(entry.wire == "direct")
            #expect(entry.ends == "shop/alice shop/near")
            #expect(entry.destination == "\(address):7001")
            #expect(entry.sourceIdentity?.hasSuffix("/ns/shop/sa/alice") == true)
            #expect(entry.destinationIdentity?.hasSuffix("/ns/shop/sa/near") == true)
            #expect(entry.reason == "completed")
        }

        @Test("bytes are counted exactly", arguments: [0, 1, 1_000, 100_000])
        func bytes(_ size: Int) throws {
            let (answer, entry) = try self.converse("7000", "talk", String(repeating: "x", count: size))
            #expect(answer.output.utf8.count == size)
            #expect(entry.bytesSent == UInt64(size) && entry.bytesReceived == UInt64(size), "\(entry)")
            #expect(entry.reason == "completed")
        }

        @Test("ends are what they are in plain TCP")
        func endings() throws {
            let upload = try self.converse("7002", "upload", "300000")
            #expect(upload.answer.lines.count == 2 && Set(upload.answer.lines).count == 1, "\(upload.answer)")
            #expect(upload.entry.bytesSent == 300_000 && upload.entry.reason == "completed")
            let server = try self.converse("7008", "talk", "word")
            #expect(server.answer.output == "over\n" && server.entry.reason == "completed")
            #expect(server.entry.bytesSent == 4 && server.entry.bytesReceived == 5, "\(server.entry)")
            let reset = try self.converse("7004", "end", "x")
            #expect(reset.answer.lines == ["reset "] && reset.entry.reason == "server_reset", "\(reset)")
            let client = try self.converse("7007", "reset", "word")
            #expect(client.entry.reason == "client_reset" && client.entry.bytesSent == 4, "\(client.entry)")
            let first = try self.converse("7006", "end")
            #expect(first.answer.lines == ["eof near"] && first.entry.bytesReceived == 5, "\(first)")
            let deaf = try self.converse("7005", "flood", "2")
            let taken = try #require(Int(deaf.answer.lines.first ?? ""), "\(deaf.answer)")
            #expect(taken > 0 && taken < 64 << 20)
        }

        @Test("a policy that denies it ends an open connection within a second of its arrival")
        func policy() throws {
            let deny = """
                apiVersion: security.istio.io/v1
                kind: AuthorizationPolicy
                metadata: {name: no-alice, namespace: shop}
                spec:
                  selector: {matchLabels: {app: near}}
                  action: DENY
                  rules: [{from: [{source: {principals: ["*/ns/shop/sa/alice"]}}]}]
                """
            try self.open("7000")
            let mark = try self.lab.accessLogMark("n1")
            let steady = try self.lab.startPeer("alice", "steady", self.near, "7000", "60")
            let listed = try eventually("the connection", { try self.lab.connections("n1") }) {
                $0.contains { $0.wire == "direct" && $0.bytesReceived > 0 }
            }
            #expect(listed.first?.destinationWorkload == "shop/near")
            let began = Date()
            try self.with(deny) {
                #expect(try steady.result(within: 10).status != 0)
                // The declaration takes its way through the control plane too.
                #expect(Date().timeIntervalSince(began) < 3)
                let entry = try self.next(since: mark)
                #expect(entry.wire == "direct" && entry.reason == "policy_denied", "\(entry)")
                #expect(entry.policy == "shop/no-alice")
                let answer = try self.lab.peer("alice", "end", self.near, "7000", "x")
                #expect(["reset ", "refused "].contains(answer.lines.first), "\(answer)")
            }
            _ = try eventually("it to be allowed again", { try self.lab.peer("alice", "talk", self.near, "7000", "y") })
            {
                $0.output == "y"
            }
        }

        @Test("what only the proxy can limit stays on the proxy, and explain says so")
        func limits() throws {
            let limits = """
                apiVersion: nodemesh.io/v1
                kind: ConnectionLimits
                metadata: {name: near, namespace: shop}
                spec:
                  selector: {matchLabels: {app: near}}
                  workload: {maxConnections: 100}
                """
            func explained() throws -> [String] {
                let answer = try self.lab.control(
                    node: "n1", "explain", "shop/alice", "\(self.near):7000", "-o", "json")
                let explanation = try AdminJSON.decoder.decode(Explanation.self, from: Data(answer.output.utf8))
                return explanation.steps.filter { $0.stage == "wire" }.map(\.outcome)
            }
            func wire() throws -> String {
                let mark = try self.lab.accessLogMark("n1")
                _ = try self.lab.peer("alice", "talk", self.near, "7000", "x")
                return try self.next(since: mark).wire
            }
            try self.open("7000")
            #expect(try explained() == ["direct"])
            try self.with(limits) {
                _ = try eventually("the proxy", wire) { $0 == "local" }
                #expect(try wire() == "local")
                #expect(try explained() == ["local", "next"])
            }
            _ = try eventually("the direct path", wire) { $0 == "direct" }
        }

        @Test("connections are spread over both nodes by their shares")
        func spread() throws {
            let address = try self.lab.address(of: "spread")
            try self.open("80", at: address)
            let mark = try self.lab.accessLogMark("n1")
            let names = try self.lab.peer("alice", "names", address, "80", "150", within: 60).lines
            let count = names.filter { $0 == "near" }.count
            #expect(names.count == 150 && (25...75).contains(count), "\(count) of \(names.count)")
            let entries = try eventually("the access log", { try self.lab.accessLog("n1", since: mark) }) {
                $0.count == 150
            }
            #expect(entries.filter { $0.destinationWorkload == "near" }.allSatisfy { $0.wire != "splice" })
            #expect(entries.filter { $0.wire == "direct" }.count > 10)
        }

        @Test("the daemon is killed: direct connections live on, and its successor knows them")
        func daemonKilled() throws {
            try self.open("7000")
            let mark = try self.lab.accessLogMark("n1")
            let held = try self.lab.startPeer("alice", "hold", self.near, "7000", "3")
            _ = try eventually("the connections", { try self.lab.connections("n1") }) {
                $0.filter { $0.wire == "direct" }.count == 3
            }
            let steady = try self.lab.startPeer("alice", "steady", self.near, "7000", "8")
            _ = try eventually("one more", { try self.lab.connections("n1") }) {
                $0.filter { $0.wire == "direct" }.count == 4
            }
            try self.lab.run("kill", "n1", "-9")
            let refused = try self.lab.peer("alice", "end", self.near, "7000", "x")
            #expect(refused.lines == ["refused "], "\(refused)")
            try self.lab.run("start", "n1")
            let listed = try eventually("them again", { try self.lab.connections("n1") }) {
                $0.filter { $0.wire == "direct" }.count >= 3
            }
            #expect(listed.filter { $0.wire == "direct" }.allSatisfy { $0.source == "shop/alice" })
            #expect(try steady.result().status == 0)
            #expect(try held.result().status == 0)
            let entries = try eventually("their ends", { try self.lab.accessLog("n1", since: mark) }) {
                $0.filter { $0.wire == "direct" && $0.reason == "completed" }.count == 4
            }
            #expect(entries.filter { $0.wire == "direct" }.allSatisfy { $0.ends == "shop/alice shop/near" })
            try self.lab.run("wait")
        }

        private func with(_ documents: String, _ body: () throws -> Void) throws {
            try self.lab.apply(documents)
            do { try body() } catch {
                try self.lab.delete(documents)
                throw error
            }
            try self.lab.delete(documents)
        }
    }
}

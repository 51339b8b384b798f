// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

extension TwoNodes {
    /// What can be seen of a connection: on the wire, in the access log, in the metrics and in nodemeshctl.
    @Suite("two nodes: telemetry")
    struct Telemetry {
        let lab = Lab.current

        @Test("nothing of the payload is readable between the nodes")
        func wire() throws {
            let file = "/run/nodemesh-lab/\(Lab.name)/wire.pcap"
            let capture = try Program([
                Lab.tool, "--name", Lab.name, "capture", "n1+n2", "--", "-U", "-s", "0", "-w", file,
            ])
            _ = try eventually("tcpdump to start", { FileManager.default.fileExists(atPath: file) }) { $0 }
            let word = "payload-\(UUID().uuidString)"
            let answer = try self.lab.peer("alice", "talk", Server.far.address, "7000", word)
            #expect(answer.output == word)
            // The same in clear, by somebody outside: the capture sees what it should.
            let known = "known-\(UUID().uuidString)"
            let control = try self.lab.execute(
                "n1", ["/usr/bin/python3", "\(Lab.resources)/peer.py", "talk", Server.outsider.address, "7000", known])
            #expect(control.output == known, "\(control)")
            let bytes = try eventually(
                "the capture", { FileManager.default.contents(atPath: file) ?? Data() }
            ) { $0.range(of: Data(known.utf8)) != nil }
            capture.terminate()
            #expect(bytes.range(of: Data(word.utf8)) == nil)
            let packets = try Program.run(["/usr/bin/tcpdump", "-n", "-r", file, "tcp port 15008"])
            #expect(packets.lines.count > 5, "\(packets)")
            // No packet of alice's connection went past the tunnel, not even an empty one.
            let past = try Program.run(["/usr/bin/tcpdump", "-n", "-r", file, "tcp and host \(TwoNodes.alice)"])
            #expect(past.lines.isEmpty, "\(past)")
        }

        @Test("both nodes log the connection once, with both identities")
        func accessLog() throws {
            let marks = try ["n1", "n2"].map { try self.lab.accessLogMark($0) }
            let text = String(repeating: "y", count: 1234)
            #expect(try self.lab.peer("alice", "talk", Server.far.address, "7000", text).output == text)
            var traces: Set<String?> = []
            for (node, mark) in zip(["n1", "n2"], marks) {
                let entries = try eventually("an entry on \(node)", { try self.lab.accessLog(node, since: mark) }) {
                    !$0.isEmpty
                }
                let entry = try #require(entries.first)
                #expect(entries.count == 1)
                #expect(entry.direction == (node == "n1" ? "outbound" : "inbound"))
                #expect(entry.sourceIdentity == "spiffe://mesh.internal/ns/shop/sa/alice")
                #expect(entry.ends == "shop/alice shop/far")
                #expect(entry.destinationIdentity == "spiffe://mesh.internal/ns/shop/sa/far")
                #expect(entry.destination == "\(Server.far.address):7000")
                #expect(entry.wire == "splice")
                #expect(entry.bytesSent == 1234)
                #expect(entry.bytesReceived == 1234)
                #expect(entry.reason == "completed")
                traces.insert(entry.traceparent)
            }
            #expect(traces.count == 1 && traces.first != .some(nil), "\(traces)")
        }

        @Test("open connections are listed, with identities and bytes")
        func connections() throws {
            let held = try self.lab.startPeer("alice", "hold", Server.far.address, "7000", "3")
            _ = try eventually("the connections", { held.output }) { $0.contains("holding") }
            let listed = try eventually(
                "three connections", { try self.lab.connections("n1").filter { $0.source == "shop/alice" } }
            ) { $0.count == 3 && $0.allSatisfy { $0.bytesReceived == 1 } }
            for connection in listed {
                #expect(connection.state == "established")
                #expect(connection.wire == "splice")
                #expect(connection.destinationIdentity == "spiffe://mesh.internal/ns/shop/sa/far")
            }
            let table = try self.lab.control(node: "n1", "connections")
            #expect(table.output.contains("shop/alice") && table.output.contains("sa/far"), "\(table)")
            #expect(try held.result().status == 0)
            _ = try eventually(
                "no connection", { try self.lab.connections("n1").filter { $0.source == "shop/alice" } }
            ) { $0.isEmpty }
        }

        @Test("metrics are clean Prometheus text and count what happened", arguments: ["n1", "n2"])
        func metrics(_ node: String) throws {
            #expect(try self.lab.peer("alice", "talk", Server.far.address, "7000", "counted").output == "counted")
            let text = try self.lab.execute(node, ["curl", "-sS", "http://127.0.0.1:15020/metrics"]).output
            let check = try Program.run(["/usr/bin/promtool", "check", "metrics"], input: text)
            #expect(check.status == 0 && check.errors.isEmpty && check.output.isEmpty, "\(check)")
            let opened = text.split(separator: "\n").filter {
                $0.hasPrefix("istio_tcp_connections_opened_total{") && $0.contains("sa/alice") && $0.contains("sa/far")
            }
            #expect(!opened.isEmpty, "\(text)")
        }

        @Test("the control plane's metrics are clean too")
        func controlMetrics() throws {
            let text = try self.lab.execute("control", ["curl", "-sS", "http://127.0.0.1:15014/metrics"]).output
            #expect(text.contains("nodemesh_"))
            let check = try Program.run(["/usr/bin/promtool", "check", "metrics"], input: text)
            #expect(check.status == 0 && check.errors.isEmpty && check.output.isEmpty, "\(check)")
        }

        @Test("readiness answers on its port", arguments: ["n1", "n2"])
        func readiness(_ node: String) throws {
            let answer = try self.lab.execute(
                node, ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:15021/healthz/ready"])
            #expect(answer.output == "200", "\(answer)")
        }

        @Test("explain says the way of an allowed connection, and of one that is nobody's")
        func explain() throws {
            let allowed = try self.lab.control(node: "n1", "explain", "shop/alice", "far:80", "-o", "json")
            let explanation = try AdminJSON.decoder.decode(Explanation.self, from: Data(allowed.output.utf8))
            #expect(explanation.verdict == "allowed", "\(allowed)")
            #expect(allowed.status == 0)
            let unknown = try self.lab.control(node: "n1", "explain", "shop/alice", "10.201.9.9:80", "-o", "json")
            let refusal = try AdminJSON.decoder.decode(Explanation.self, from: Data(unknown.output.utf8))
            #expect(refusal.verdict == "refused")
            #expect(refusal.reason == "unknown_destination")
            #expect(unknown.status == 1)
        }

        @Test(
            "a wrong argument is refused with a sentence",
            arguments: [
                ["explain", "alice", "far:80"], ["explain", "shop/alice", "far"], ["explain", "shop/nobody", "far:80"],
                ["workload", "enroll", "--name", "x", "--cgroup", "/no/such/cgroup"], ["delete", "service", "no-such"],
                ["get", "teapots"], ["apply", "-f", "/no/such/file"],
            ])
        func badArguments(_ arguments: [String]) throws {
            let answer = try Program.run([Lab.tool, "--name", Lab.name, "ctl", "n1", "--"] + arguments)
            #expect(answer.status != 0)
            #expect(!answer.errors.isEmpty && !answer.errors.contains("Fatal"), "\(answer)")
        }
    }
}

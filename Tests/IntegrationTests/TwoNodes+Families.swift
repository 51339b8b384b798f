// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

extension TwoNodes {
    /// Both IP families and every kind of socket, on one node and across nodes; see Resources/sockets.py.
    @Suite("two nodes: families")
    struct Families {
        let lab = Lab.current

        static let script = ["/usr/bin/python3", "\(Lab.resources)/sockets.py"]
        static let alice6 = "fd00:201:1::1"

        /// Where a server is in IPv6.
        private func six(_ server: Server) -> String {
            server.workload == "near" ? "fd00:201:1::2" : "fd00:201:2::2"
        }

        /// Runs the listeners of sockets.py in a workload while `body` does.
        private func serving(_ workload: String, _ body: () throws -> Void) throws {
            let server = try self.lab.start(workload, Self.script + ["serve"])
            try withExtendedLifetime(server) {
                _ = try eventually("the listeners", { server.output }) { $0.contains("serving") }
                try body()
            }
        }

        private func dial(_ client: String, _ host: String, _ port: Int, way: String = "plain") throws -> String {
            let answer = try self.lab.execute(client, Self.script + ["dial", way, host, "\(port)"])
            #expect(answer.status == 0, "\(answer)")
            return answer.lines.first ?? ""
        }

        @Test(
            "every way to connect reaches every way to listen, and both ends see who is there",
            arguments: Server.both)
        func everySocket(server: Server) throws {
            let hasMultipath = FileManager.default.fileExists(atPath: "/proc/sys/net/mptcp/enabled")
            var expected: [String: String] = [:]
            for family in ["4", "6"] {
                for way in ["plain", "mapped", "nonblocking", "bound", "fastopen", "fastopen-lazy"] {
                    expected["\(way) \(family) dual"] = "right"
                }
                if hasMultipath {
                    expected["mptcp \(family) dual"] = "right"
                    expected["plain \(family) mptcp"] = "right"
                } else {
                    expected["mptcp \(family) dual"] = "EPROTONOSUPPORT"
                    expected["plain \(family) mptcp"] = "refused"
                }
                // Bound to loopback is not reached from outside.
                expected["plain \(family) loopback"] = "refused"
            }
            for (listener, family) in [("v6only", "6"), ("own6", "6"), ("v4", "4"), ("own4", "4")] {
                expected["plain \(family) \(listener)"] = "right"
                expected["plain \(family == "4" ? "6" : "4") \(listener)"] = "refused"
            }
            try self.serving(server.workload) {
                let mark = try self.lab.accessLogMark("n1")
                let answer = try self.lab.execute(
                    "alice", Self.script + ["survey", server.address, self.six(server), TwoNodes.alice, Self.alice6],
                    within: 90)
                var seen: [String: String] = [:]
                for line in answer.lines {
                    guard let colon = line.firstRange(of: ": ") else { continue }
                    seen[String(line[..<colon.lowerBound])] = String(line[colon.upperBound...])
                }
                for (what, outcome) in expected.sorted(by: { $0.key < $1.key }) {
                    #expect(seen[what] == outcome, "\(what): \(seen[what] ?? "nothing")\n\(answer.errors)")
                }
                #expect(seen.count == expected.count)
                // All of it went through the mesh, under alice's identity.
                _ = try self.lab.accessLogMark("n1")
                let log = try self.lab.accessLog("n1", since: mark).filter { $0.direction == "outbound" }
                let right = seen.values.filter { $0 == "right" }.count
                let good = log.filter { $0.reason == "completed" && $0.sourceWorkload == "alice" }
                #expect(good.count >= right, "\(good.count) of \(right)")
                // On one node the first connection of a kind goes through the proxy, the next ones need not.
                let wires = server.workload == "near" ? ["local", "direct"] : ["splice"]
                #expect(good.allSatisfy { wires.contains($0.wire) })
                #expect(log.contains { $0.destination == "[\(self.six(server))]:7100" })
            }
        }

        @Test("SO_ORIGINAL_DST is answered in a workload that asked for it")
        func originalDestination() throws {
            try self.serving("far") {
                for host in [Server.far.address, self.six(.far)] {
                    let answer = try self.dial("alice", host, 7108)
                    #expect(answer.contains("\"original\": [\"\(host)\", 7108]"), "\(answer)")
                }
            }
        }

        @Test("connected UDP is left alone", arguments: Server.both)
        func datagrams(server: Server) throws {
            try self.serving(server.workload) {
                for host in [server.address, self.six(server)] {
                    let answer = try self.lab.execute("alice", Self.script + ["datagrams", host, "7107"])
                    #expect(answer.lines == ["right"], "\(host): \(answer)")
                }
            }
        }

        @Test("a service is dialled at its address of either family")
        func services() throws {
            let services: [ServiceSummary] = try self.lab.ask("n1", "/v1/services")
            for name in ["near", "far"] {
                let addresses = try #require(services.first { $0.name == name }).addresses
                #expect(addresses.count == 2 && addresses[0].hasPrefix("240.240."))
                #expect(addresses[1].hasPrefix("fd6e:6d65:7368:"))
                for address in addresses {
                    // Its application listens on IPv4 only: the address of the other family leads there too.
                    let answer = try self.lab.peer("alice", "end", address, "80")
                    #expect(answer.lines == ["eof \(name)"], "\(address): \(answer)")
                }
            }
        }

        @Test("from outside the mesh IPv6 meets the same policy as IPv4", arguments: Server.both)
        func outside(server: Server) throws {
            let strict = """
                apiVersion: security.istio.io/v1
                kind: PeerAuthentication
                metadata: {name: strict, namespace: shop}
                spec: {mtls: {mode: STRICT}}
                """
            try self.serving(server.workload) {
                let open = try self.dial("outsider", self.six(server), 7100)
                #expect(open.contains("\"peer\": [\"fd00:202:2::5\""), "\(open)")
                try self.lab.apply(strict)
                defer { try? self.lab.delete(strict) }
                for host in [server.address, self.six(server)] {
                    _ = try eventually("\(host) to be closed", { try self.dial("outsider", host, 7100) }) {
                        $0 == "refused"
                    }
                }
                let inside = try self.dial("alice", self.six(server), 7100)
                #expect(inside.contains("\"peer\": [\"\(Self.alice6)\""), "\(inside)")
            }
        }

        @Test("explain knows IPv6")
        func explain() throws {
            let answer = try self.lab.control(node: "n1", "explain", "shop/alice", "[fd00:201:2::2]:7000")
            #expect(answer.status == 0 && answer.output.contains("allowed"), "\(answer)")
        }
    }
}

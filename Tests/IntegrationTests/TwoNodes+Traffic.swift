// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

extension TwoNodes {
    /// Traffic policy from its declaration to the connection that it refuses or slows down.
    @Suite("two nodes: traffic policy")
    struct Traffic {
        let lab = Lab.current

        @Test("a service's maxConnections refuses one more, and everybody can read why")
        func maxConnections() throws {
            let limits = """
                apiVersion: nodemesh.io/v1
                kind: ConnectionLimits
                metadata: {name: few, namespace: shop}
                spec:
                  targetRef: {kind: Service, name: far}
                  destination: {maxConnections: 2}
                """
            let address = try self.lab.address(of: "far")
            let held = try self.lab.startPeer("alice", "hold", address, "7000", "2")
            _ = try eventually("the connections", { held.output }) { $0.contains("holding") }
            // They count although they are older than the limit.
            try self.with(limits) {
                let answer = try eventually(
                    "a refusal", { try self.lab.peer("alice", "end", address, "80").lines.first ?? "nothing" }
                ) { $0 != "eof far" }
                #expect(["reset ", "refused "].contains(answer))
                let details = try eventually("the refusal in the access log", { try self.details("n1") }) {
                    !$0.isEmpty
                }
                #expect(details.last == "service shop/far: 2 connections of this node are open, its maxConnections")
                let explained = try self.lab.explanation("n1", "shop/alice", "far.shop:80")
                #expect(explained.verdict == "refused" && explained.reason == "limit_exceeded", "\(explained)")
                let metrics = try self.lab.execute("n1", ["curl", "-sS", "http://127.0.0.1:15020/metrics"])
                let name = "nodemesh_limit_refusals_total{limit=\"destination_max_connections\"} "
                #expect(metrics.output.contains(name) && !metrics.lines.contains(name + "0"))
                // Who goes to the workload itself does not go to the service.
                let direct = try self.lab.peer("alice", "end", Server.far.address, "7006")
                #expect(direct.lines == ["eof far"], "\(direct)")
                #expect(try held.result().status == 0)
                _ = try eventually(
                    "room for another", { try self.lab.peer("alice", "end", address, "80").lines.first ?? "nothing" }
                ) { $0 == "eof far" }
                #expect(try self.lab.explanation("n1", "shop/alice", "far.shop:80").verdict == "allowed")
            }
        }

        @Test("a workload's bytesPerSecond slows it down and loses nothing")
        func bytesPerSecond() throws {
            let limits = """
                apiVersion: nodemesh.io/v1
                kind: ConnectionLimits
                metadata: {name: slow, namespace: shop}
                spec:
                  selector: {matchLabels: {app: alice}}
                  workload: {bytesPerSecond: 1M}
                """
            try self.with(limits) {
                for server in Server.both {
                    // Until the limit has reached the node it goes at once; then only the first second's worth does.
                    _ = try eventually(
                        "a slow upload to \(server.workload)", within: 60, { try self.upload(to: server) }
                    ) { $0 > 1.5 }
                }
            }
        }

        /// Sends three megabytes.
        ///
        /// - Returns: how long that took, in seconds.
        private func upload(to server: Server) throws -> Double {
            let began = Date()
            let answer = try self.lab.peer("alice", "upload", server.address, "7002", "3000000")
            #expect(Set(answer.lines).count == 1, "\(answer)")
            return Date().timeIntervalSince(began)
        }

        /// What a node says of connections that limits refused.
        private func details(_ node: String) throws -> [String] {
            try self.lab.accessLog(node).filter { $0.reason == "limit_exceeded" }.compactMap(\.detail)
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

// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

extension TwoNodes {
    /// Programs of real life, which know nothing of the mesh: nginx, redis and iperf3 on the far node, and their clients.
    @Suite("two nodes: real programs")
    struct Programs {
        let lab = Lab.current
        static let server = "10.201.2.4"

        @Test("curl and nginx, by name of the service")
        func curl() throws {
            let answer = try self.lab.execute("alice", ["curl", "-sS", "http://web.shop.mesh.internal/"])
            #expect(answer.output == "hello \(TwoNodes.alice)\n", "\(answer)")
        }

        @Test("a client on the server's own node")
        func sameNode() throws {
            let answer = try self.lab.execute("bob", ["curl", "-sS", "http://web.shop.mesh.internal/"])
            #expect(answer.output == "hello \(TwoNodes.bob)\n", "\(answer)")
        }

        @Test("fifty megabytes by sendfile, the same bytes at the other end")
        func largeFile() throws {
            let scratch = "/run/nodemesh-lab/\(Lab.name)/scratch/shop-programs/files/large"
            let sent = try Program.run(["/usr/bin/sha256sum", scratch]).output.prefix(64)
            let get = "curl -sS http://web.shop.mesh.internal/files/large | sha256sum"
            let answer = try self.lab.execute("alice", ["sh", "-c", get], within: 60)
            #expect(answer.output.prefix(64) == sent, "\(answer)")
        }

        @Test("keep-alive: many requests on one connection")
        func keepAlive() throws {
            let mark = try self.lab.accessLogMark("n1")
            let url = "http://web.shop.mesh.internal/?[1-200]"
            let answer = try self.lab.execute("alice", ["curl", "-sS", url])
            #expect(answer.lines.count == 200, "\(answer)")
            _ = try eventually("one access-log entry", { try self.lab.accessLog("n1", since: mark).count }) { $0 == 1 }
        }

        @Test("redis-benchmark with pipelining and without", arguments: ["1", "16"])
        func redis(_ pipeline: String) throws {
            let answer = try self.lab.execute(
                "alice",
                [
                    "redis-benchmark", "-h", Self.server, "-t", "set,get", "-n", "10000", "-c", "20", "-d", "1000",
                    "-P",
                    pipeline, "--csv",
                ], within: 90)
            #expect(answer.status == 0, "\(answer)")
            #expect(answer.output.contains("\"SET\"") && answer.output.contains("\"GET\""), "\(answer)")
        }

        @Test("iperf3 in each direction", arguments: [[], ["--reverse"]])
        func iperf(_ options: [String]) throws {
            try Self.expectTraffic(self.startIperf("5201", options))
        }

        /// Two clients, not `--bidir`: that tells the connections of one direction from those of the other by the order in
        /// which the server accepts them, and a proxied connect() returns before the server has the connection.
        @Test("iperf3 in both directions at once")
        func iperfBothWays() throws {
            let directions = [try self.startIperf("5201", []), try self.startIperf("5202", ["--reverse"])]
            for direction in directions { try Self.expectTraffic(direction) }
        }

        private func startIperf(_ port: String, _ options: [String]) throws -> Program {
            try self.lab.start(
                "alice", ["iperf3", "-c", Self.server, "-p", port, "-t", "2", "-P", "2", "-J"] + options)
        }

        /// Both connections must still move in the last second: one that starves has not moved since its first burst.
        private static func expectTraffic(_ program: Program) throws {
            struct Report: Decodable {
                struct Bytes: Decodable { var bytes: Int }
                struct Interval: Decodable { var streams: [Bytes] }
                struct End: Decodable { var sumReceived: Bytes }
                var intervals: [Interval]
                var end: End
            }
            let answer = try program.result(within: 40)
            try #require(answer.status == 0, "\(answer)")
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            let report = try decoder.decode(Report.self, from: Data(answer.output.utf8))
            let last = try #require(report.intervals.last, "\(answer)").streams.map(\.bytes)
            #expect(last.count == 2 && last.allSatisfy { $0 > 0 }, "\(answer)")
            #expect(report.end.sumReceived.bytes > 10_000_000, "\(answer)")
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import MeshCLI
import Testing

struct PolicyTestCommandTests {
    private func json(_ value: some Encodable) throws -> String {
        String(decoding: try AdminJSON.encoder.encode(value), as: UTF8.self)
    }

    private func result(_ changes: [PolicyTestResult.Change]) -> PolicyTestResult {
        PolicyTestResult(
            since: CommandLineRun.now.addingTimeInterval(-3600), unchanged: 93,
            changed: changes.reduce(0) { $0 + $1.connections }, gone: 2, dropped: 3, nodes: ["n1"],
            silentNodes: ["n2"], changes: changes, moreChanges: 0, notes: ["a note"])
    }

    private func stub(_ answer: PolicyTestResult) throws -> StubTransport {
        StubTransport(["control POST /v1/policy-test": .response(200, try self.json(answer))])
    }

    private let change = PolicyTestResult.Change(
        becomes: "denied", source: nil, sourceIdentity: nil, sourceAddresses: ["192.0.2.1"], moreAddresses: 0,
        workload: "shop/api", port: 8080, connections: 7, firstSeen: CommandLineRun.now,
        lastSeen: CommandLineRun.now.addingTimeInterval(-60), policy: "shop/deny", rule: 0, clause: "rule 0 matches",
        present: "no policy denies it")

    @Test func changesAreListedAndFail() async throws {
        let stub = try self.stub(self.result([self.change]))
        let run = await CommandLineRun("policy test --since 15m --replace -", transport: stub, input: "kind: X\n")
        #expect(run.status == .failed)
        #expect(
            run.output.contains(
                "denied             7  1m00s ago  plaintext from 192.0.2.1  shop/api:8080  shop/deny  rule 0 matches\n")
        )
        #expect(run.output.hasSuffix("The answer changes for 7 of 100 connections of the 1 nodes that reported.\n"))
        for text in ["a note", "reported by n2", "2 connections went", "3 connections were not kept"] {
            #expect(run.error.contains(text))
        }
        let request = try AdminJSON.decoder.decode(PolicyTestRequest.self, from: try #require(stub.sent.first?.body))
        #expect(request == PolicyTestRequest(resources: "kind: X\n", replace: true, sinceSeconds: 900))
    }

    @Test func withoutChangesItSucceeds() async throws {
        let run = await CommandLineRun(
            "policy test -", transport: try self.stub(self.result([])), input: "kind: X\n")
        #expect(run.status == .success)
        #expect(run.output == "No answer changes: 93 connections of the 1 nodes that reported.\n")
    }

    /// A pipeline has to tell "changes" from "could not be tested".
    @Test func everyErrorIsTwo() async throws {
        let problem = ResourceProblem(document: 1, line: 2, path: "spec.action", reason: "is wrong")
        let refusals: [StubTransport.Answer] = [
            .failure(.refused), .response(401, try self.json(ErrorResponse(error: "no"))),
            .response(422, try self.json(ErrorResponse(error: "no", problems: [problem]))), .response(500, ""),
        ]
        for answer in refusals {
            let run = await CommandLineRun(
                "policy test -", transport: StubTransport([:], otherwise: answer), input: "kind: X\nspec: {}\n")
            #expect(run.status == .usage)
            #expect(!run.error.isEmpty)
        }
        for line in [
            "policy test", "policy test - --since 2h", "policy test - --against x --since 1m", "policy test /no/such",
            "policy test - --against /no/such",
        ] {
            let run = await CommandLineRun(line, input: "kind: X\n")
            #expect(run.status == .usage, "\(line)")
        }
    }

    @Test func anAccessLogIsCountedTogether() async throws {
        let path = NSTemporaryDirectory() + "nodemesh-access-" + UUID().uuidString
        defer { try? FileManager.default.removeItem(atPath: path) }
        func line(_ port: Int, _ reason: String?, second: Int = 1) -> String {
            #"{"timestamp":"2026-01-02T03:04:0\#(second).000001Z","src.addr":"10.0.0.1:\#(port)","src.workload":"web","#
                + #""src.namespace":"shop","src.identity":"spiffe://mesh.internal/ns/shop/sa/web","#
                + #""dst.workload":"api","dst.namespace":"shop","dst.upstream":"10.0.0.2:8080""#
                + (reason.map { #","policy_reason":"\#($0)""# } ?? "") + "}\n"
        }
        let text =
            line(1, "no_policies") + line(2, "matched_allow", second: 3) + line(3, "matched_deny") + line(4, nil)
            + "{\n"
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        let stub = try self.stub(self.result([]))
        let run = await CommandLineRun("policy test - --against \(path)", transport: stub, input: "kind: X\n")
        #expect(run.status == .success)
        #expect(run.error.contains("1 lines are not of an access log"))
        #expect(run.error.contains("1 connections were decided elsewhere"))
        let request = try AdminJSON.decoder.decode(PolicyTestRequest.self, from: try #require(stub.sent.first?.body))
        let connections = try #require(request.connections).sorted { $0.count > $1.count }
        #expect(connections.map(\.count) == [2, 1])
        #expect(connections.map(\.isDenied) == [false, true])
        #expect(connections[0].sourceAddress == "10.0.0.1" && connections[0].destination == "10.0.0.2:8080")
        #expect(connections[0].lastSeen.timeIntervalSince(connections[0].firstSeen) == 2)
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

extension TwoNodes {
    /// Policies that are tried before they are enforced.
    @Suite("two nodes: trying policies out")
    struct DryRun {
        let lab = Lab.current

        private static let everybody = "10.201.2.2"

        @Test("a dry-run policy is evaluated, counted and logged, and lets everything pass", arguments: Server.both)
        func dryRun(_ server: Server) throws {
            let node = server.workload == "far" ? "n2" : "n1"
            let deny = """
                apiVersion: security.istio.io/v1
                kind: AuthorizationPolicy
                metadata: {name: try, namespace: shop, annotations: {istio.io/dry-run: "true"}}
                spec: {selector: {matchLabels: {app: \(server.workload)}}, action: DENY, rules: [{}]}
                """
            try TwoNodes.with(deny) {
                let metric = "nodemesh_policy_dry_run_total{policy=\"shop/try\",result=\"would_deny\"}"
                let before = try self.lab.metrics(node)[metric] ?? 0
                let mark = try self.lab.accessLog(node).count
                // It comes by a way of its own, so it may be there a little later than the others.
                let entry = try eventually(
                    "the dry run in the access log of \(node)",
                    { () throws -> AccessEntry? in
                        let answer = try self.lab.peer("alice", "end", server.address, "7006")
                        #expect(answer.lines.first == "eof \(server.workload)", "\(answer)")
                        return try self.lab.accessLog(node, since: mark).last { $0.dryRunDenied != nil }
                    }
                ) { $0 != nil }
                #expect(entry?.dryRunDenied == ["shop/try"])
                #expect(entry?.reason == "completed")
                #expect(try self.lab.metrics(node)[metric] ?? 0 > before)
                let answer: Explanation = try self.lab.ask(
                    node, "/v1/explain?source=shop/alice&destination=\(server.address):7006")
                #expect(answer.verdict == "allowed")
                #expect(
                    answer.steps.contains { $0.outcome == "dryRun-matched" && $0.detail.contains("would be denied") })
            }
        }

        @Test("policy test tells which recent connections a policy would turn away")
        func policyTest() throws {
            let deny = """
                apiVersion: security.istio.io/v1
                kind: AuthorizationPolicy
                metadata: {name: proposed, namespace: shop}
                spec:
                  selector: {matchLabels: {app: far}}
                  action: DENY
                  rules: [{from: [{source: {principals: ["mesh.internal/ns/shop/sa/alice"]}}], to: [{operation: {ports: ["7000"]}}]}]
                """
            let strict = """
                apiVersion: security.istio.io/v1
                kind: PeerAuthentication
                metadata: {name: proposed, namespace: shop}
                spec: {mtls: {mode: STRICT}}
                """
            for client in ["alice", "outsider"] {
                let answer = try self.lab.peer(client, "talk", Server.far.address, "7000", "hello")
                #expect(answer.output == "hello", "\(answer)")
            }
            // Nodes report every ten seconds.
            let changes = try eventually("the reports", within: 40, { try self.test(deny) }) { $0.result.changed > 0 }
            #expect(changes.status == 1)
            #expect(
                changes.result.changes.allSatisfy {
                    $0.becomes == "denied" && $0.source == "shop/alice" && $0.workload == "shop/far" && $0.port == 7000
                        && $0.policy == "shop/proposed"
                })
            let plaintext = try eventually("the outsider's connection", within: 40, { try self.test(strict) }) {
                $0.result.changes.contains { $0.sourceAddresses.contains("10.202.2.5") }
            }
            #expect(plaintext.result.changes.allSatisfy { $0.sourceIdentity == nil })
            // Nothing was applied.
            let again = try self.lab.peer("alice", "talk", Server.far.address, "7000", "hello")
            #expect(again.output == "hello")
            let harmless = try self.test(deny.replacing("\"7000\"", with: "\"1\""))
            #expect(harmless.status == 0 && harmless.result.changed == 0)
            #expect(try self.lab.control("policy", "test", "-", input: "kind: Nothing\n").status == 2)
        }

        private func test(_ documents: String) throws -> (status: Int32, result: PolicyTestResult) {
            let answer = try self.lab.control("policy", "test", "-", "--since", "10m", "-o", "json", input: documents)
            guard (0...1).contains(answer.status) else { throw ProgramError(description: "\(answer)") }
            return (
                answer.status, try AdminJSON.decoder.decode(PolicyTestResult.self, from: Data(answer.output.utf8))
            )
        }
    }
}

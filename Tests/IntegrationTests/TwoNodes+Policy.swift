// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

extension TwoNodes {
    /// Policies at the destination: `alice` (namespace shop, first node) and `bob` (namespace other, second node) dial
    /// `near` and `far`; `outsider` has no identity.
    @Suite("two nodes: policy")
    struct Policy {
        let lab = Lab.current

        /// One kind of rule, and whom it lets through to `far` on port 7006.
        struct Rule: CustomTestStringConvertible, Sendable {
            var name: String
            var action: String
            var rules: String
            var alice: Bool
            var bob: Bool
            var testDescription: String { "\(self.action) \(self.name)" }

            init(_ action: String, _ name: String, _ rules: String, alice: Bool, bob: Bool) {
                (self.name, self.action, self.rules, self.alice, self.bob) = (name, action, rules, alice, bob)
            }

            static func source(_ field: String, _ value: String) -> String {
                "[{from: [{source: {\(field): [\"\(value)\"]}}]}]"
            }

            static func port(_ field: String, _ value: String) -> String {
                "[{to: [{operation: {\(field): [\"\(value)\"]}}]}]"
            }
        }

        static let rules: [Rule] = [
            Rule("ALLOW", "no rules", "[]", alice: false, bob: false),
            Rule("ALLOW", "everybody", "[{}]", alice: true, bob: true),
            Rule("DENY", "everybody", "[{}]", alice: false, bob: false),
            Rule(
                "ALLOW", "principals", Rule.source("principals", "mesh.internal/ns/shop/sa/alice"), alice: true,
                bob: false),
            Rule(
                "DENY", "principals", Rule.source("principals", "mesh.internal/ns/shop/sa/alice"), alice: false,
                bob: true),
            Rule(
                "ALLOW", "principals by prefix", Rule.source("principals", "mesh.internal/ns/other/*"), alice: false,
                bob: true),
            Rule("ALLOW", "principals by suffix", Rule.source("principals", "*/sa/alice"), alice: true, bob: false),
            Rule(
                "ALLOW", "notPrincipals", Rule.source("notPrincipals", "mesh.internal/ns/shop/sa/alice"), alice: false,
                bob: true),
            Rule("ALLOW", "namespaces", Rule.source("namespaces", "other"), alice: false, bob: true),
            Rule("DENY", "namespaces", Rule.source("namespaces", "other"), alice: true, bob: false),
            Rule("DENY", "notNamespaces", Rule.source("notNamespaces", "shop"), alice: true, bob: false),
            Rule("ALLOW", "serviceAccounts", Rule.source("serviceAccounts", "other/bob"), alice: false, bob: true),
            Rule("DENY", "notServiceAccounts", Rule.source("notServiceAccounts", "other/bob"), alice: false, bob: true),
            Rule("ALLOW", "ipBlocks", Rule.source("ipBlocks", "10.201.1.0/24"), alice: true, bob: false),
            Rule("DENY", "ipBlocks", Rule.source("ipBlocks", TwoNodes.alice), alice: false, bob: true),
            Rule("DENY", "notIpBlocks", Rule.source("notIpBlocks", "10.201.1.0/24"), alice: true, bob: false),
            Rule("ALLOW", "ports", Rule.port("ports", "7006"), alice: true, bob: true),
            Rule("ALLOW", "another port", Rule.port("ports", "7000"), alice: false, bob: false),
            Rule("DENY", "notPorts", Rule.port("notPorts", "7000"), alice: false, bob: false),
            Rule(
                "DENY", "a source and a port together",
                "[{from: [{source: {namespaces: [other]}}], to: [{operation: {ports: [\"7006\"]}}]}]", alice: true,
                bob: false),
        ]

        @Test("an AuthorizationPolicy decides at the destination", arguments: Self.rules)
        func rule(_ rule: Rule) throws {
            let policy = Self.policy(action: rule.action, rules: rule.rules)
            try TwoNodes.with(policy) {
                try self.expect("alice", "far", allowed: rule.alice)
                try self.expect("bob", "far", allowed: rule.bob)
                // It selects one workload only.
                try self.expect("alice", "near", allowed: true)
            }
        }

        @Test("DENY wins over ALLOW")
        func denyWins() throws {
            let allow = Self.policy(name: "allow", action: "ALLOW", rules: "[{}]")
            let deny = Self.policy(name: "deny", action: "DENY", rules: Rule.source("namespaces", "shop"))
            try TwoNodes.with("\(allow)\n---\n\(deny)") {
                try self.expect("alice", "far", allowed: false)
                try self.expect("bob", "far", allowed: true)
            }
        }

        @Test("a policy without selector holds for its namespace, one in the root namespace for the mesh")
        func scopes() throws {
            let namespace = Self.policy(action: "DENY", rules: "[{}]", selector: nil)
            try TwoNodes.with(namespace) {
                try self.expect("alice", "far", allowed: false)
                try self.expect("alice", "near", allowed: false)
            }
            let mesh = Self.policy(
                namespace: "nodemesh-system", action: "DENY", rules: Rule.source("namespaces", "other"), selector: nil)
            try TwoNodes.with(mesh) {
                try self.expect("bob", "far", allowed: false)
                try self.expect("alice", "far", allowed: true)
            }
        }

        @Test("a denied connection says which policy, at both ends and in explain")
        func reason() throws {
            let policy = Self.policy(name: "no-shop", action: "DENY", rules: Rule.source("namespaces", "shop"))
            try TwoNodes.with(policy) {
                try self.expect("alice", "far", allowed: false)
                for node in ["n1", "n2"] {
                    let entry = try eventually(
                        "the refusal in the access log of \(node)",
                        { try self.lab.accessLog(node).last { $0.ends == "shop/alice shop/far" } }
                    ) { $0?.reason == "policy_denied" }
                    if node == "n2" { #expect(entry?.policy == "shop/no-shop") }
                }
                let answer = try self.lab.control(
                    node: "n1", "explain", "shop/alice", "\(Server.far.address):7006", "-o", "json")
                let explanation = try AdminJSON.decoder.decode(Explanation.self, from: Data(answer.output.utf8))
                #expect(explanation.verdict == "denied")
                #expect(explanation.policy == "shop/no-shop")
                #expect(explanation.rule == 0)
                #expect(answer.status == 1)
            }
        }

        @Test("PERMISSIVE lets plaintext from outside in, and it has no identity")
        func permissive() throws {
            try self.expect("outsider", "far", allowed: true)
            let anybodyKnown = Self.policy(action: "ALLOW", rules: Rule.source("principals", "*"))
            try TwoNodes.with(anybodyKnown) {
                try self.expect("outsider", "far", allowed: false)
                try self.expect("alice", "far", allowed: true)
            }
        }

        @Test("STRICT refuses plaintext from outside", arguments: ["shop", "nodemesh-system"])
        func strict(_ namespace: String) throws {
            let policy = """
                apiVersion: security.istio.io/v1
                kind: PeerAuthentication
                metadata: {name: default, namespace: \(namespace)}
                spec: {mtls: {mode: STRICT}}
                """
            try TwoNodes.with(policy) {
                try self.expect("outsider", "far", allowed: false)
                try self.expect("outsider", "near", allowed: false)
                try self.expect("alice", "far", allowed: true)
                try self.expect("alice", "near", allowed: true)
                try self.expect("bob", "far", allowed: true)
            }
            try self.expect("outsider", "far", allowed: true)
        }

        @Test("STRICT for one workload and one port")
        func strictPort() throws {
            let policy = """
                apiVersion: security.istio.io/v1
                kind: PeerAuthentication
                metadata: {name: far, namespace: shop}
                spec:
                  selector: {matchLabels: {app: far}}
                  mtls: {mode: PERMISSIVE}
                  portLevelMtls: {7006: {mode: STRICT}}
                """
            try TwoNodes.with(policy) {
                try self.expect("outsider", "far", allowed: false)
                try self.expect("outsider", "near", allowed: true)
                let other = try self.lab.peer("outsider", "talk", Server.far.address, "7000", "in clear")
                #expect(other.output == "in clear", "\(other)")
            }
        }

        @Test("an apply with one fault changes nothing, and says where the fault is")
        func allOrNothing() throws {
            let documents = """
                \(Self.policy(name: "good", action: "DENY", rules: "[{}]"))
                ---
                \(Self.policy(name: "bad", action: "DENY", rules: "[{from: [{source: {principal: [x]}}]}]"))
                """
            let answer = try self.lab.control("apply", "-f", "-", input: documents)
            #expect(answer.status != 0)
            #expect(answer.errors.contains("spec.rules[0].from[0].source.principal"), "\(answer)")
            #expect(answer.errors.contains("shop/bad"), "\(answer)")
            #expect(try self.lab.control("get", "authorizationpolicy", "good", "-n", "shop").status != 0)
            try self.expect("alice", "far", allowed: true)
        }

        // Helpers

        static func policy(
            name: String = "test", namespace: String = "shop", action: String, rules: String,
            selector: String? = "{matchLabels: {app: far}}"
        ) -> String {
            """
            apiVersion: security.istio.io/v1
            kind: AuthorizationPolicy
            metadata: {name: \(name), namespace: \(namespace)}
            spec:
              \(selector.map { "selector: \($0)" } ?? "# no selector")
              action: \(action)
              rules: \(rules)
            """
        }

        /// Dials until the outcome is the expected one, since a policy takes a moment to reach the nodes.
        private func expect(
            _ client: String, _ server: String, allowed: Bool, sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            let address = try #require((Server.both.first { $0.workload == server })?.address)
            let answer = try eventually(
                "\(client) to \(server) \(allowed ? "allowed" : "denied")",
                { try self.lab.peer(client, "end", address, "7006").lines.first ?? "nothing" }
            ) { ($0 == "eof \(server)") == allowed }
            // Refused visibly: neither a silent wait nor an orderly end.
            if !allowed { #expect(["reset ", "refused "].contains(answer), sourceLocation: sourceLocation) }
        }
    }
}

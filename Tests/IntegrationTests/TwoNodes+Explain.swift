// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

extension TwoNodes {
    /// What explain says and what connections get is the same, whatever policies there are.
    ///
    /// `NODEMESH_EXPLAIN_SEED` repeats a run's policies, `NODEMESH_EXPLAIN_ROUNDS` makes it longer.
    @Suite("two nodes: explain")
    struct Explain {
        let lab = Lab.current
        private static let environment = ProcessInfo.processInfo.environment

        /// A connection, and where to ask about it.
        private struct Attempt: CustomStringConvertible {
            /// Where the client runs, as the lab calls it, and its node, whose access log tells how it ended.
            var client: String
            var node: String
            /// As explain is asked.
            var source: String
            var host: String
            var port: Int
            /// What the server answers when it is reached.
            var greetings: [String]

            var destination: String { "\(self.host):\(self.port)" }
            var description: String { "\(self.source) -> \(self.destination)" }
        }

        @Test("agrees with enforcement under random policies")
        func agrees() throws {
            let seed = Self.environment["NODEMESH_EXPLAIN_SEED"].flatMap { UInt64($0) } ?? .random(in: 0..<1_000_000)
            let rounds = Self.environment["NODEMESH_EXPLAIN_ROUNDS"].flatMap { Int($0) } ?? 6
            print("explain: NODEMESH_EXPLAIN_SEED=\(seed) NODEMESH_EXPLAIN_ROUNDS=\(rounds)")
            var random = SplitMix64(state: seed)
            let attempts = try self.attempts()
            var outcomes: [String: Int] = [:]
            for _ in 0..<rounds {
                let documents = Self.documents(&random)
                try TwoNodes.with(documents) {
                    for attempt in attempts {
                        let explanation = try self.agree(attempt, documents)
                        outcomes[explanation.reason ?? explanation.verdict, default: 0] += 1
                    }
                }
            }
            print(
                "explain: \(outcomes.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "))"
            )
            for expected in ["allowed", "policy_denied", "unknown_destination", "no_healthy_endpoint", "self_call"] {
                #expect(outcomes[expected] != nil, "nothing came out as \(expected) with seed \(seed)")
            }
        }

        private func attempts() throws -> [Attempt] {
            let addresses = ["near": "10.201.1.2", "far": "10.201.2.2", "farther": "10.201.2.3"]
            let clients = [
                ("alice", "n1", "shop/alice"), ("near", "n1", "shop/near"), ("bob", "n2", "other/bob"),
            ]
            var attempts: [Attempt] = []
            for (client, node, source) in clients {
                for (server, address) in addresses.sorted(by: { $0.key < $1.key }) where server != client {
                    attempts.append(
                        .init(
                            client: client, node: node, source: source, host: address, port: 7006, greetings: [server]))
                }
            }
            let (far, nobody) = (try self.lab.address(of: "far"), try self.lab.address(of: "nobody"))
            for (host, port, greetings) in [
                // A service, one without endpoints, a port that it does not have, nobody's address, the mesh's own port.
                (far, 80, ["far"]), (nobody, 80, []), (far, 81, []), ("10.201.2.99", 7006, []),
                ("10.201.2.2", 15008, []),
            ] {
                attempts.append(
                    .init(
                        client: "alice", node: "n1", source: "shop/alice", host: host, port: port, greetings: greetings)
                )
            }
            // Somebody outside the mesh, whom the servers' nodes judge.
            for (server, node) in [("near", "n1"), ("far", "n2")] {
                attempts.append(
                    .init(
                        client: "outsider", node: node, source: "10.202.2.5", host: addresses[server] ?? "", port: 7006,
                        greetings: [server]))
            }
            return attempts
        }

        /// Asks and connects until both say the same, for as long as a change may still be on its way.
        private func agree(_ attempt: Attempt, _ documents: String) throws -> Explanation {
            var answer: Explanation?
            _ = try eventually(
                "\(attempt): explain to agree with the connection under\n\(documents)",
                { () throws -> (said: String, got: String, node: String) in
                    let explanation = try self.explain(attempt, on: attempt.node)
                    let mark = try self.lab.accessLog(attempt.node).count
                    let line =
                        try self.lab.peer(attempt.client, "end", attempt.host, "\(attempt.port)").lines.first ?? ""
                    answer = explanation
                    let got = try self.outcome(line, attempt, since: mark)
                    // The other node, which enforces, says the same of it.
                    let other = try self.explainThere(attempt)?.reason ?? "allowed"
                    let said = explanation.verdict == "allowed" ? "allowed" : explanation.reason ?? "?"
                    return (said, got, other)
                }
            ) { outcome in
                outcome.said == outcome.got
                    && (["allowed", "policy_denied"].contains(outcome.said) == false || outcome.said == outcome.node)
            }
            return try #require(answer)
        }

        /// `allowed`, or the reason that the access log gives.
        private func outcome(_ line: String, _ attempt: Attempt, since mark: Int) throws -> String {
            if attempt.greetings.contains(where: { line == "eof \($0)" }) { return "allowed" }
            let entry = try eventually(
                "the end of \(attempt), which was '\(line)', in the access log of \(attempt.node)",
                {
                    try self.lab.accessLog(attempt.node, since: mark).last {
                        $0.destination == attempt.destination
                            && (attempt.source == "\($0.sourceNamespace ?? "")/\($0.sourceWorkload ?? "")"
                                || $0.source.hasPrefix("\(attempt.source):"))
                    }
                }
            ) { $0 != nil }
            return entry?.reason ?? "?"
        }

        private func explain(_ attempt: Attempt, on node: String) throws -> Explanation {
            try self.lab.explanation(node, attempt.source, attempt.destination)
        }

        /// What the node of the destination says, where it is another one.
        private func explainThere(_ attempt: Attempt) throws -> Explanation? {
            let other = attempt.node == "n1" ? "n2" : "n1"
            let isThere = other == "n2" ? attempt.host.hasPrefix("10.201.2.") : attempt.host.hasPrefix("10.201.1.")
            guard isThere, attempt.port == 7006, !attempt.greetings.isEmpty, attempt.source.contains("/") else {
                return try self.explain(attempt, on: attempt.node)
            }
            return try self.explain(attempt, on: other)
        }

        private static func documents(_ random: inout SplitMix64) -> String {
            var documents: [String] = []
            for index in 0..<Int.random(in: 1...3, using: &random) {
                let kind = Policy.rules.randomElement(using: &random) ?? Policy.rules[0]
                let selector = [nil, "{matchLabels: {app: near}}", "{matchLabels: {app: far}}"].randomElement(
                    using: &random)
                var document = Policy.policy(
                    name: "random-\(index)",
                    namespace: Int.random(in: 0..<4, using: &random) == 0 ? "nodemesh-system" : "shop",
                    action: kind.action, rules: kind.rules, selector: selector ?? nil)
                if Int.random(in: 0..<4, using: &random) == 0 {
                    document.replace(
                        "metadata: {", with: "metadata: {annotations: {istio.io/dry-run: \"true\"}, ")
                }
                documents.append(document)
            }
            if Bool.random(using: &random) {
                let namespace = Bool.random(using: &random) ? "shop" : "nodemesh-system"
                let ports = [
                    "mtls: {mode: STRICT}",
                    "selector: {matchLabels: {app: far}}, mtls: {mode: PERMISSIVE}, portLevelMtls: {7006: {mode: STRICT}}",
                ].randomElement(using: &random)
                documents.append(
                    """
                    apiVersion: security.istio.io/v1
                    kind: PeerAuthentication
                    metadata: {name: random, namespace: \(namespace)}
                    spec: {\(namespace == "shop" ? ports ?? "" : "mtls: {mode: STRICT}")}
                    """)
            }
            // Mesh-wide, it would turn what tells that the policies are there away too.
            return documents.joined(separator: "\n---\n")
        }

        // MARK: - Ejections

        @Test("endpoints that are set aside are said to be, and get no connection")
        func ejected() throws {
            // Three endpoints, of which one listens.
            let documents = """
                apiVersion: v1
                kind: Service
                metadata: {name: lame, namespace: shop}
                spec: {selector: {tier: spread}, ports: [{port: 80, targetPort: 7555}]}
                ---
                apiVersion: networking.istio.io/v1
                kind: DestinationRule
                metadata: {name: lame, namespace: shop}
                spec:
                  host: lame
                  trafficPolicy:
                    outlierDetection:
                      {consecutiveLocalOriginFailures: 1, baseEjectionTime: 300s, maxEjectionPercent: 100}
                """
            let listener = try self.lab.start(
                "far",
                [
                    "/usr/bin/python3", "-c",
                    """
                    import socket
                    s = socket.create_server(("0.0.0.0", 7555), backlog=64)
                    print("listening", flush=True)
                    while True:
                        c = s.accept()[0]
                        c.sendall(b"far")
                        c.close()
                    """,
                ])
            defer { listener.terminate() }
            _ = try eventually("far to listen", { listener.output }) { $0.contains("listening") }
            try self.lab.apply(documents)
            defer { try? self.lab.delete(documents) }
            let address = try eventually("n1 to know the service", { try? self.lab.address(of: "lame") }) { $0 != nil }
            let host = try #require(address)
            var chosen: String?
            func steps() throws -> [String: String] {
                let answer = try self.lab.explanation("n1", "shop/alice", "\(host):80")
                #expect(answer.verdict == "allowed")
                let endpoints = answer.steps.filter { $0.stage == "endpoint" && $0.outcome != "chosen" }
                chosen = answer.steps.first { $0.outcome == "chosen" }?.detail
                return Dictionary(
                    uniqueKeysWithValues: endpoints.map { ($0.detail.components(separatedBy: " ")[0], $0.outcome) })
            }
            _ = try eventually("explain to call the two ejected", within: 60) {
                _ = try self.lab.peer("alice", "end", host, "80")
                return try steps()
            } until: {
                $0 == ["shop/far": "healthy", "shop/near": "ejected", "shop/farther": "ejected"]
            }
            // Each of a dozen would have met one of them otherwise.
            let mark = try self.lab.accessLogMark("n1")
            for _ in 0..<12 {
                #expect(try self.lab.peer("alice", "end", host, "80").lines == ["eof far"])
            }
            let entries = try eventually("the access log", { try self.lab.accessLog("n1", since: mark) }) {
                $0.count { $0.destination == "\(host):80" } >= 12
            }
            #expect(entries.filter { $0.destination == "\(host):80" }.allSatisfy { $0.destinationWorkload == "far" })
            #expect(try steps()["shop/far"] == "healthy")
            #expect(chosen?.contains("shop/far") == true, "\(chosen ?? "nothing")")
        }

        // MARK: - Exclusions

        @Test("an excluded connection is said to go past the mesh, and does", arguments: [false, true])
        func excluded(isStrict: Bool) throws {
            // `bob` has this port excluded.
            let destination = "\(Server.far.address):7008"
            let strict = """
                apiVersion: security.istio.io/v1
                kind: PeerAuthentication
                metadata: {name: strict, namespace: \(isStrict ? "shop" : "elsewhere")}
                spec: {mtls: {mode: STRICT}}
                """
            try TwoNodes.with(strict) {
                let source: Explanation = try self.lab.ask(
                    "n2", "/v1/explain?source=other/bob&destination=\(destination)")
                #expect(source.verdict == "notCaptured" && source.reason == "outbound_excluded")
                // To the server's side it is somebody without an identity.
                let server: Explanation = try self.lab.ask(
                    "n2", "/v1/explain?source=\(TwoNodes.bob)&destination=\(destination)")
                #expect(server.verdict == (isStrict ? "denied" : "allowed"))
                _ = try eventually(
                    "the connection to be as explain says",
                    { try self.lab.peer("bob", "end", Server.far.address, "7008").lines.first ?? "nothing" }
                ) { ($0 == "eof over") != isStrict }
                let status = try self.lab.status("n2")
                #expect((status.steering["outbound_excluded"] ?? 0) > 0)
            }
        }

        @Test("what is not known is not found")
        func unknown() throws {
            for arguments in [["shop/nobody-at-all", "10.201.1.2:80"], ["shop/alice", "no-such-service:80"]] {
                let answer = try self.lab.control(node: "n1", "explain", arguments[0], arguments[1])
                #expect(answer.status == 4, "\(answer)")
            }
            let mesh = try self.lab.control("explain", "shop/alice", "far:80", "--all")
            #expect(mesh.status == 0, "\(mesh)")
        }
    }
}

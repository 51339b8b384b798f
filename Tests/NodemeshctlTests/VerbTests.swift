// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import MeshCLI
import Testing

/// What each verb asks for and prints.
struct VerbTests {
    private func json(_ value: some Encodable) throws -> String {
        String(decoding: try AdminJSON.encoder.encode(value), as: UTF8.self)
    }

    private let connection = ConnectionSummary(
        id: "7", direction: "outbound", state: "established", source: "shop/client", sourceAddress: "10.1.0.2:4000",
        sourceIdentity: "spiffe://mesh.internal/ns/shop/sa/client", destination: "240.240.0.1:80",
        service: "shop/web", destinationWorkload: "shop/web-1",
        destinationIdentity: "spiffe://mesh.internal/ns/shop/sa/web", upstream: "192.0.2.2:15008", wire: "splice",
        bytesSent: 9_007_199_254_740_993, bytesReceived: 10, ageSeconds: 312)

    @Test func connectionsShowBothIdentities() async throws {
        let stub = StubTransport(["node GET /v1/connections": .response(200, try self.json([self.connection]))])
        let run = await CommandLineRun("connections", transport: stub)
        #expect(
            run.output
                == """
                DIRECTION  SOURCE       SOURCE IDENTITY                   DESTINATION                  \
                DESTINATION IDENTITY           WIRE    STATE           SENT  RECEIVED    AGE
                outbound   shop/client  mesh.internal/ns/shop/sa/client  shop/web-1 (240.240.0.1:80)  \
                mesh.internal/ns/shop/sa/web  splice  established  8.0 PiB      10 B  5m12s

                """.replacing("IDENTITY                   DEST", with: "IDENTITY                  DEST")
                .replacing("DESTINATION IDENTITY           WIRE", with: "DESTINATION IDENTITY          WIRE"))
        let exact = await CommandLineRun("connections -o json", transport: stub)
        #expect(exact.output.contains("\"bytesSent\": 9007199254740993"))
        let other = await CommandLineRun("connections --workload shop/other", transport: stub)
        #expect(other.output.isEmpty)
        #expect(other.error == "No connection of shop/other is open on this node.\n")
        #expect(other.status == .success)
        let own = await CommandLineRun("connections --workload shop/web-1 -o json", transport: stub)
        #expect(own.output.contains("9007199254740993"))
    }

    @Test(arguments: [
        ("allowed", CommandStatus.success), ("denied", .failed), ("refused", .failed), ("notCaptured", .failed),
    ])
    func explainAnswersWithItsStatus(verdict: String, status: CommandStatus) async throws {
        let explanation = Explanation(
            source: "shop/client", destination: "240.240.0.1:80",
            steps: [
                .init(stage: "capture", outcome: "captured", detail: "inside the mesh prefixes"),
                .init(stage: "policy", outcome: verdict, detail: "rule 0 of shop/deny matches"),
            ], verdict: verdict, reason: "policy_denied", policy: "shop/deny", rule: 0)
        let stub = StubTransport([
            "GET /v1/explain?source=shop%2Fclient&destination=web.shop.mesh.internal%3A80":
                .response(200, try self.json(explanation))
        ])
        let run = await CommandLineRun("explain shop/client web:80", transport: stub)
        #expect(run.status == status)
        #expect(run.error.isEmpty)
        #expect(run.output.hasPrefix("shop/client -> 240.240.0.1:80\n  capture  captured"))
        #expect(run.output.hasSuffix("\(verdict), policy_denied by policy shop/deny, rule 0\n"))
        let colored = await CommandLineRun("explain shop/client web:80", transport: stub, isTerminal: true)
        #expect(colored.output.contains("\u{1b}["))
        let plain = await CommandLineRun(
            "explain shop/client web:80", transport: stub, environment: ["NO_COLOR": "1"], isTerminal: true)
        #expect(plain.output == run.output)
    }

    @Test func checkFailsWithoutARequiredFeature() async {
        let present = FeatureCheck(
            feature: "cgroup/connect4", isPresent: true, detail: "attached", whatIsLostWithoutIt: "everything",
            isRequired: true)
        var optional = present
        (optional.feature, optional.isPresent, optional.isRequired) = ("kTLS", false, false)
        #expect(await CommandLineRun("check", kernel: [present, optional]).status == .success)
        var required = optional
        required.isRequired = true
        let run = await CommandLineRun("check", kernel: [present, required])
        #expect(run.status == .failed)
        #expect(run.output.contains("kTLS             MISSING"))
        #expect(run.error.contains("1 required feature is missing: kTLS"))
    }

    @Test func statusShowsWhatAnswers() async throws {
        let control = ControlStatus(
            version: "1", trustDomain: "mesh.internal", caFingerprint: "sha256:00",
            caExpiresAt: CommandLineRun.now.addingTimeInterval(86400), nodes: 2, nodesAlive: 1, workloads: 3,
            services: 1,
            policies: 0, startedAt: CommandLineRun.now.addingTimeInterval(-60))
        let stub = StubTransport(
            ["control GET /v1/status": .response(200, try self.json(control))], otherwise: .failure(.noSuchSocket))
        let run = await CommandLineRun("status", transport: stub)
        #expect(run.status == .success)
        #expect(run.output.contains("Nodes:           1 of 2 alive\n"))
        #expect(run.error.contains("no such socket"))
        let named = await CommandLineRun("status --node-socket /x", transport: stub)
        #expect(named.status == .unreachable)
        let body = await CommandLineRun("status -o json", transport: stub)
        #expect(body.output.contains("\"node\": null"))
        let none = await CommandLineRun("status", transport: StubTransport([:], otherwise: .failure(.refused)))
        #expect(none.status == .unreachable)
        #expect(none.output.isEmpty)
    }

    @Test func aNodeThatIsNotReadyFails() async throws {
        var status = NodeStatus(
            node: "n1", version: "1", startedAt: CommandLineRun.now, trustDomain: "mesh.internal", isReady: false,
            controlPlane: .init(
                address: "192.0.2.1:15012", isConnected: false, viewAgeSeconds: nil, lastError: "refused"),
            certificate: nil, failMode: "closed", loops: 1, connectionsOpen: 0, workloads: 0, services: 0,
            meshPrefixes: ["240.240.0.0/16"], steering: ["captured": 3, "origin_lost": 0],
            maps: [
                .init(name: "nm_enrolled", entries: 800, capacity: 1024),
                .init(name: "nm_abi", entries: 1, capacity: 1),
            ])
        let stub = StubTransport(
            ["node GET /v1/status": .response(200, try self.json(status))], otherwise: .failure(.refused))
        let run = await CommandLineRun("status", transport: stub)
        #expect(run.status == .failed)
        #expect(run.output.contains("Ready:            no\n"))
        #expect(run.output.contains("Control plane:    192.0.2.1:15012, not connected, no view yet\n"))
        #expect(run.output.contains("captured 3\n"))
        #expect(run.output.hasSuffix("Map nm_enrolled:  800 of 1024\n"))
        let wide = await CommandLineRun("status -o wide", transport: stub)
        #expect(wide.output.contains("captured 3, origin_lost 0\n"))
        #expect(wide.output.contains("Map nm_abi:       1 of 1\n"))

        status.controlPlane.viewAgeSeconds = 90
        for (isKept, word) in [(true, "kept on disk"), (false, "not all of it on disk yet")] {
            status.controlPlane.isViewKept = isKept
            let known = await CommandLineRun(
                "status",
                transport: StubTransport(
                    ["node GET /v1/status": .response(200, try self.json(status))], otherwise: .failure(.refused)))
            #expect(known.output.contains(", not connected, view confirmed 1m30s ago, \(word)\n"), "\(known)")
        }
    }

    @Test func tokensAreAskedForAndShown() async throws {
        let token = JoinTokenResponse(
            token: "nmjt.a.b", node: "n1", expiresAt: CommandLineRun.now.addingTimeInterval(900),
            caFingerprint: "sha256:00", command: "nodemeshd --join-token nmjt.a.b")
        let stub = StubTransport(["POST /v1/join-tokens": .response(201, try self.json(token))])
        let run = await CommandLineRun("join-token create --node n1 --ttl 15m", transport: stub)
        #expect(run.output.hasSuffix("\nPaste this on the node:\n\n  nodemeshd --join-token nmjt.a.b\n"))
        #expect(run.output.contains("Expires:         in 15m00s\n"))
        let body = try #require(stub.sent.first?.body)
        #expect(String(decoding: body, as: UTF8.self) == #"{"node":"n1","ttlSeconds":900}"#)
    }

    @Test func theSecretOfATokenStaysOutOfTheURL() async {
        let stub = StubTransport(["DELETE /v1/join-tokens/abc": .response(204, "")])
        let run = await CommandLineRun("join-token delete nmjt.abc.s3cret", transport: stub)
        #expect(run.status == .success)
        #expect(stub.sent.map(\.target) == ["/v1/join-tokens/abc"])
    }

    @Test func applySendsEverythingAtOnce() async throws {
        let answer = ApplyResponse(results: [
            .init(kind: "Service", namespace: "shop", name: "web", outcome: .created)
        ])
        let stub = StubTransport(["POST /v1/apply?dryRun=true": .response(200, try self.json(answer))])
        let run = await CommandLineRun("apply --dry-run -f -", transport: stub, input: "kind: Service\n")
        #expect(run.output == "KIND     NAMESPACE  NAME  RESULT\nService  shop       web   created\n")
        #expect(run.error == "Dry run: nothing was changed.\n")
        #expect(stub.sent.count == 1)
    }

    @Test func deleteByFileIsOneRequest() async throws {
        let answer = ApplyResponse(results: [
            .init(kind: "Service", namespace: "shop", name: "web", outcome: .unchanged)
        ])
        let stub = StubTransport(
            ["POST /v1/delete?ignoreNotFound=true": .response(200, try self.json(answer))],
            otherwise: .response(404, #"{"error":"there is no Service shop/web","problems":[]}"#))
        let run = await CommandLineRun("delete -f - --ignore-not-found", transport: stub, input: "kind: Service\n")
        #expect(run.output.contains("unchanged"))
        // An absent thing among others has kept the others: that is no success.
        let strict = await CommandLineRun("delete -f -", transport: stub, input: "kind: Service\n")
        #expect(strict.status == .notFound)
    }

    @Test func getAsksForTheNamespaceThatIsMeant() async {
        let policy =
            #"{"apiVersion":"security.istio.io/v1","kind":"AuthorizationPolicy","metadata":{"name":"deny","#
            + #""namespace":"shop"},"spec":{"action":"DENY","rules":[{}],"selector":{"matchLabels":{"app":"web"}}}}"#
        let stub = StubTransport([
            "GET /v1/resources/ap": .response(200, "[\(policy)]"),
            "GET /v1/resources/ap/shop/deny": .response(200, policy),
            "GET /v1/resources/ap/default": .response(200, "[]"),
        ])
        let table = "NAMESPACE  NAME  ACTION  RULES  SELECTOR\nshop       deny  DENY    1      app=web\n"
        #expect(await CommandLineRun("get ap -A", transport: stub).output == table)
        #expect(await CommandLineRun("get ap deny -n shop", transport: stub).output == table)
        let none = await CommandLineRun("get ap", transport: stub)
        #expect(none.output.isEmpty)
        #expect(none.error == "No ap in namespace default; -A shows all namespaces.\n")
        let yaml = await CommandLineRun("get ap -A -o yaml", transport: stub)
        #expect(yaml.output.hasPrefix("---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n"))
    }

    @Test func trafficPolicyHasColumnsOfItsOwn() async {
        let rule = #"""
            {"kind":"DestinationRule","metadata":{"name":"api","namespace":"shop"},"spec":{"host":"api","trafficPolicy":
            {"connectionPool":{"tcp":{"connectTimeout":"2s","maxConnections":100}},"outlierDetection":{},
            "loadBalancer":{"localityLbSetting":{"failoverPriority":["topology.kubernetes.io/zone"]}}}}}
            """#
        let bare = #"{"kind":"DestinationRule","metadata":{"name":"web","namespace":"shop"},"spec":{"host":"web"}}"#
        let limits = #"""
            [{"kind":"ConnectionLimits","metadata":{"name":"api","namespace":"shop"},
            "spec":{"targetRef":{"kind":"Service","name":"api"},"destination":{"maxPending":5}}},
            {"kind":"ConnectionLimits","metadata":{"name":"b","namespace":"shop"},
            "spec":{"selector":{"matchLabels":{"app":"b"}},"workload":{"bytesPerSecond":"10M","maxConnections":3}}},
            {"kind":"ConnectionLimits","metadata":{"name":"c","namespace":"shop"},
            "spec":{"workload":{"maxConnections":9}}}]
            """#
        let stub = StubTransport([
            "GET /v1/resources/dr": .response(200, "[\(rule),\(bare)]"), "GET /v1/resources/cl": .response(200, limits),
        ])
        #expect(
            await CommandLineRun("get dr -A", transport: stub).output == """
                NAMESPACE  NAME  HOST  POOL                                  EJECTION    LOCALITY
                shop       api   api   connectTimeout=2s,maxConnections=100  by default  zone
                shop       web   web   -                                     -           -

                """)
        #expect(
            await CommandLineRun("get cl -A", transport: stub).output == """
                NAMESPACE  NAME  FOR             LIMITS
                shop       api   Service/api     maxPending=5
                shop       b     app=b           bytesPerSecond=10M,maxConnections=3
                shop       c     every workload  maxConnections=9

                """)
    }

    @Test func listsAskTheNodeOrWithAllTheControlPlane() async {
        for verb in ["workload", "service", "certificate"] {
            let stub = StubTransport([:], otherwise: .response(200, "[]"))
            #expect(await CommandLineRun("\(verb) list", transport: stub).status == .success)
            #expect(await CommandLineRun("\(verb) list --all", transport: stub).status == .success)
            #expect(stub.endpoints.first == .node(socket: NodeOptions.defaultSocket))
            guard case .control = stub.endpoints.last else {
                Issue.record("\(verb) list --all did not ask the control plane")
                continue
            }
        }
    }

    @Test func unenrolNamesTheWorkload() async {
        let stub = StubTransport(["DELETE /v1/workloads/shop/web": .response(204, "")])
        let run = await CommandLineRun("workload unenroll shop/web", transport: stub)
        #expect(run.status == .success)
        #expect(run.error == "shop/web is no longer enrolled.\n")
    }

    @Test func enrolmentRefusesWhatIsNoCgroup() async {
        let stub = StubTransport([:])
        let run = await CommandLineRun("workload enroll --cgroup /nowhere/at/all --name web", transport: stub)
        #expect(run.status == .notFound || run.status == .failed)
        #expect(stub.sent.isEmpty)
    }

    @Test func versionDoesNotNeedADaemon() async {
        let run = await CommandLineRun("version", transport: StubTransport([:], otherwise: .failure(.refused)))
        #expect(run.status == .success)
        #expect(run.output.contains("nodemesh-control  no answer\n"))
    }

    private static let events = [
        NodeEvent(
            time: "2026-01-02T03:00:00.000001Z", kind: "decision", reason: "inactive_refused", workload: "shop/web",
            identity: "spiffe://mesh.internal/ns/shop/sa/web", destination: "10.1.0.9:80"),
        NodeEvent(
            time: "2026-01-02T03:04:00.500000Z", kind: "directClosed", reason: "direct", workload: "shop/web",
            target: "shop/api", targetIdentity: "spiffe://mesh.internal/ns/shop/sa/api", source: "10.1.0.2:4000",
            destination: "240.240.0.1:80", close: "client", durationSeconds: 2, bytesSent: 5, bytesReceived: 6),
    ]

    private func eventLines() throws -> String {
        try Self.events.map { try self.json($0) + "\n" }.joined()
    }

    @Test func eventsAreShownByName() async throws {
        let stub = StubTransport(["node GET /v1/events": .response(200, try self.eventLines())])
        let all = await CommandLineRun("events", transport: stub)
        #expect(all.output.split(separator: "\n").count == 3)
        #expect(all.output.contains("inactive_refused  shop/web"))
        #expect(all.output.contains("client, 2.0s, 5 B sent, 6 B received"))
        let lines = await CommandLineRun("events -o json", transport: stub)
        #expect(lines.output == (try self.eventLines()))
    }

    @Test(arguments: [
        ("--workload shop/api", 1), ("--workload shop/web", 2), ("--identity mesh.internal/ns/shop/sa/api", 1),
        ("--identity spiffe://mesh.internal/ns/shop/sa/web", 1), ("--reason direct,captured", 1), ("--since 2m", 1),
        ("--since 1h", 2), ("--workload shop/web --reason captured", 0),
    ])
    func eventsAreFiltered(_ options: String, _ count: Int) async throws {
        let lines = try self.eventLines()
        let stub = StubTransport([
            "node GET /v1/events": .response(200, lines),
            "node GET /v1/events?follow=true": .response(200, "\n" + lines),
        ])
        let run = await CommandLineRun("events -o json \(options)", transport: stub)
        #expect(run.output.split(separator: "\n").count == count)
        let live = await CommandLineRun("events --follow \(options)", transport: stub)
        #expect(live.output.split(separator: "\n").count == (count == 0 ? 0 : count + 1), "\(live.output)")
    }

    @Test func aRefusedStreamIsExplained() async throws {
        let stub = StubTransport([
            "GET /v1/events?follow=true": .response(503, "{\"error\":\"too many read\",\"problems\":[]}")
        ])
        let run = await CommandLineRun("events -f", transport: stub)
        #expect(run.status == .failed)
        #expect(run.error.contains("too many read"))
    }

    @Test func defunctLinksFailTheStatus() async throws {
        var summary = BPFSummary(
            programs: [
                .init(
                    name: "nm_connect4", id: 7, tag: "0a", hook: "connect4", jitedBytes: 2048,
                    verifiedInstructions: 900, runs: 4, runNanoseconds: 400, loadedAt: nil)
            ],
            links: [.init(pin: "/p", hook: "connect4", target: "/sys/fs/cgroup/a", program: 7, isAttached: true)],
            maps: [.init(name: "nm_ports", type: "hash", id: 1, entries: 80, capacity: 100, memoryBytes: 4096)])
        let whole = await CommandLineRun(
            "bpf status", transport: StubTransport(["node GET /v1/bpf": .response(200, try self.json(summary))]))
        #expect(whole.status == .success)
        #expect(whole.output.contains("900 insns") && whole.output.contains("100 ns") && whole.output.contains("80 %"))
        summary.links[0].isAttached = false
        let broken = await CommandLineRun(
            "bpf status -o wide", transport: StubTransport(["node GET /v1/bpf": .response(200, try self.json(summary))])
        )
        #expect(broken.status == .failed)
        #expect(broken.output.contains("defunct"))
    }

    @Test func uncapturedConnectionsAreListed() async throws {
        let list = [
            UncapturedConnection(
                workload: "shop/web", direction: "outbound", local: "10.1.0.2:4", remote: "10.1.0.3:80",
                state: "established", reason: "before_enrolment")
        ]
        let stub = StubTransport(["node GET /v1/connections/uncaptured": .response(200, try self.json(list))])
        let run = await CommandLineRun("connections --uncaptured", transport: stub)
        #expect(run.output.contains("before enrolment"))
        let other = await CommandLineRun("connections --uncaptured --workload shop/api", transport: stub)
        #expect(other.error == "Every connection of shop/api is captured.\n")
    }
}

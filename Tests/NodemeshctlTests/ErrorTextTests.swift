// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import MeshCLI
import Testing

/// What an operator reads when something is in the way: each says where, and what to try.
struct ErrorTextTests {
    @Test(arguments: [
        (TransportFailure.noSuchSocket, "no such socket", "systemctl status nodemeshd"),
        (.notPermitted, "permission denied", "sudo"), (.refused, "nobody listens", "journalctl -u nodemeshd"),
        (.timedOut, "did not answer in time", "journalctl -u nodemeshd"), (.failed("EIO"), "EIO", "--node-socket"),
    ])
    func nodeIsNotReachable(failure: TransportFailure, what: String, hint: String) async {
        let run = await CommandLineRun(
            "workload list", transport: StubTransport([:], otherwise: .failure(failure)),
            environment: ["NODEMESH_NODE_SOCKET": "/run/x.sock"])
        #expect(run.status == .unreachable)
        #expect(run.output.isEmpty)
        #expect(run.error.contains("nodemeshd at /run/x.sock"))
        #expect(run.error.contains(what))
        #expect(run.error.contains(hint))
    }

    @Test(arguments: [
        (TransportFailure.refused, "connection refused", "--control-plane URL"),
        (.timedOut, "no answer in time", "--control-plane URL"),
        (.unknownHost, "has no address", "--control-plane URL"),
        (.tls("certificate verify failed"), "certificate verify failed", "--ca-file"),
        (.failed("closed"), "closed", "https://"),
    ])
    func controlPlaneIsNotReachable(failure: TransportFailure, what: String, hint: String) async {
        let run = await CommandLineRun(
            "node list --control-plane http://127.0.0.1:9", transport: StubTransport([:], otherwise: .failure(failure)))
        #expect(run.status == .unreachable)
        #expect(run.error.contains("the control plane at http://127.0.0.1:9"))
        #expect(run.error.contains(what))
        #expect(run.error.contains(hint))
    }

    @Test(arguments: [
        ("workload enroll --unti x", "Unknown option '--unti'. Did you mean '--unit'?"),
        ("workload enroll --unit=x.service --nmae=y", "Unknown option '--nmae'. Did you mean '--name'?"),
        ("workload enroll -z --name y", "Unknown option '-z'"),
        ("workload enroll --label --oops", "Unknown option '--oops'"),
        ("explain --verbose", "Unknown option '--verbose'"), ("get --sideways", "Unknown option '--sideways'"),
        ("status --frobnicate", "Unknown option '--frobnicate'"), ("--frobnicate explain", "Unknown option"),
        ("node delete --contrl-plane http://x", "Unknown option '--contrl-plane'. Did you mean '--control-plane'?"),
    ])
    func anUnknownOptionIsNamedBeforeWhatIsMissing(line: String, message: String) async {
        let run = await CommandLineRun(line)
        #expect(run.status == .usage)
        #expect(run.error.hasPrefix("Error: \(message)"), "\(run.error)")
        #expect(run.error.contains("\nUsage: nodemeshctl"), "\(run.error)")
        #expect(!run.error.contains("Missing") && !run.error.contains("Say which"), "\(run.error)")
    }

    @Test(arguments: [
        "workload enroll --name y", "workload enroll -l a=b", "workload enroll -la=b -o json", "explain a -- --verbose",
        "explain -o json", "explain --control-plane http://x", "get -",
    ])
    func whatIsMissingIsNamedWhereEveryOptionIsKnown(line: String) async {
        let run = await CommandLineRun(line)
        #expect(run.status == .usage)
        #expect(!run.error.contains("Unknown option"), "\(run.error)")
    }

    @Test func unauthorizedNamesTheTokenFile() async throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "token-\(UUID().uuidString)")
        try Data("s3cret\n".utf8).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        let transport = StubTransport([:], otherwise: .response(401, #"{"error":"no","problems":[]}"#))
        let run = await CommandLineRun(["node", "list", "--token-file", file.path], transport: transport)
        #expect(run.status == .failed)
        #expect(run.error.contains("refused the token in \(file.path)"))
        #expect(!run.error.contains("s3cret"))
        guard case .control(_, .text(let secret, _), _) = try #require(transport.endpoints.first) else {
            Issue.record("no token was sent")
            return
        }
        #expect(secret == "s3cret")
    }

    @Test func aNamedTokenFileHasToBeReadable() async {
        let transport = StubTransport([:])
        let run = await CommandLineRun("node list --token-file /nowhere/token", transport: transport)
        #expect(run.status == .failed)
        #expect(run.error.contains("cannot read the token file /nowhere/token: no such file"))
        #expect(transport.sent.isEmpty)
    }

    @Test func theTokenNeverLeavesInClearText() async throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "token-\(UUID().uuidString)")
        try Data("s3cret".utf8).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        let transport = StubTransport([:])
        let run = await CommandLineRun(
            ["node", "list", "--token-file", file.path, "--control-plane", "http://10.0.0.1:15080"],
            transport: transport)
        #expect(run.status == .failed)
        #expect(run.error.contains("in clear text"))
        #expect(transport.sent.isEmpty)
    }

    @Test func problemsComeOnePerLineWithFileAndLine() async throws {
        let answer = ErrorResponse(
            error: "2 problems, nothing was applied",
            problems: [
                ResourceProblem(
                    document: 1, line: 2, kind: "Service", namespace: "shop", name: "web", path: "spec.ports[0].port",
                    reason: "is missing"),
                ResourceProblem(document: 2, path: "", reason: "not an object"),
            ])
        let body = String(decoding: try AdminJSON.encoder.encode(answer), as: UTF8.self)
        let run = await CommandLineRun(
            "apply -f -", transport: StubTransport(["POST /v1/apply": .response(422, body)]),
            input: "a: 1\nb: 2\n---\n3\n")
        #expect(run.status == .failed)
        #expect(
            run.error == """
                standard input:2: Service shop/web spec.ports[0].port: is missing
                standard input:3: not an object
                nodemeshctl: 2 problems, nothing was applied

                """)
    }

    @Test func notFoundHasItsOwnStatus() async {
        let missing = StubTransport([:], otherwise: .response(404, #"{"error":"no node n9","problems":[]}"#))
        let run = await CommandLineRun("node delete n9", transport: missing)
        #expect(run.status == .notFound)
        #expect(run.error == "nodemeshctl: no node n9\n")
        let ignoring = await CommandLineRun("delete svc web --ignore-not-found", transport: missing)
        #expect(ignoring.status == .success)
    }

    @Test func anUnknownRouteIsNoMissingThing() async {
        let run = await CommandLineRun("service list", transport: StubTransport([:], otherwise: .response(404, "")))
        #expect(run.status == .failed)
        #expect(run.error.contains("does not know GET /v1/services"))
    }

    @Test func anAnswerOfAnotherVersionIsExplained() async {
        let stub = StubTransport(["GET /v1/nodes": .response(200, #"[{"name":"n1"}]"#)])
        let run = await CommandLineRun("node list", transport: stub)
        #expect(run.status == .failed)
        #expect(run.error.contains("no field 0."))
        #expect(run.error.contains("nodemeshctl version"))
        let raw = await CommandLineRun("node list -o json", transport: stub)
        #expect(raw.status == .success)
    }

    @Test func aServerErrorWithoutAReasonPointsToTheLog() async {
        let run = await CommandLineRun("status", transport: StubTransport([:], otherwise: .response(500, "<html>")))
        #expect(run.error.contains("HTTP 500"))
        #expect(run.error.contains("journalctl -u nodemesh-control"))
    }

    @Test func hostileTextDoesNotReachTheTerminal() async {
        let stub = StubTransport([:], otherwise: .response(400, #"{"error":"bad \u001b[2J\nnext","problems":[]}"#))
        let run = await CommandLineRun("node list", transport: stub)
        #expect(!run.error.contains("\u{1b}"))
        #expect(run.error.split(separator: "\n").count == 1)
    }
}

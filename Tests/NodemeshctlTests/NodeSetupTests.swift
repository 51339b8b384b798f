// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import MeshCLI
import MeshLinux
import Testing

/// `install-node` and `uninstall-node`, and what they do to the machine.
struct NodeSetupTests {
    private static let file = "/etc/nodemesh/nodemeshd.yaml"
    private static let fingerprint = "sha256:" + String(repeating: "a1", count: 32)
    private static let line =
        "install-node --control 192.0.2.1:15012 --ca-fingerprint \(fingerprint) --join-token nmjt.a.b"
    private static let show = "systemctl show --property=LoadState --value -- nodemeshd.service"
    private static let join =
        "nodemeshd join --config /etc/nodemesh/nodemeshd.yaml --join-token-file /run/nodemesh-join-token"
    private static let loaded = [show: ChildProcess.Result(code: 0, output: "loaded\n")]

    private static func status(isReady: Bool, problem: String? = nil) throws -> StubTransport {
        var status = NodeStatus(
            node: "n1", version: "1", startedAt: CommandLineRun.now, trustDomain: "mesh.internal", isReady: isReady,
            controlPlane: .init(
                address: "192.0.2.1:15012", isConnected: true, viewAgeSeconds: 1, lastError: nil),
            certificate: nil, failMode: "closed", loops: 1, connectionsOpen: 0, workloads: 0, services: 0,
            meshPrefixes: [], steering: [:], maps: [])
        status.problem = problem
        let body = String(decoding: try AdminJSON.encoder.encode(status), as: UTF8.self)
        return StubTransport(["node GET /v1/status": .response(200, body)])
    }

    @Test func joinsAndStarts() async throws {
        let before = "# Mine.\n#controlPlane:\nlogLevel: debug\n#node:\n"
        let host = StubHost(files: [Self.file: before], answers: Self.loaded)
        let run = await CommandLineRun(
            Self.line + " --node n1 --node-address 192.0.2.9", transport: try Self.status(isReady: true), host: host)
        #expect(run.status == .success, "\(run.error)")
        #expect(run.output.contains("Ready:          yes"))
        #expect(
            host.files == [
                Self.file: """
                # Mine.
                controlPlane: 192.0.2.1:15012
                logLevel: debug
                node: n1
                caFingerprint: \(Self.fingerprint)
                nodeAddresses: [192.0.2.9]

                """
            ])
        #expect(
            host.done == [
                Self.show, "write \(Self.file) 644", "write /run/nodemesh-join-token 600", Self.join,
                "remove /run/nodemesh-join-token", "systemctl enable --quiet nodemeshd.service",
                "systemctl restart nodemeshd.service",
            ])
    }

    @Test func changesNothingWhenJoiningFails() async throws {
        for before in [nil, "logLevel: debug\n"] {
            let files = before.map { [Self.file: $0] } ?? [:]
            let answers = Self.loaded.merging([Self.join: .init(code: 3, output: "")]) { $1 }
            let host = StubHost(files: files, answers: answers)
            let run = await CommandLineRun(Self.line, transport: try Self.status(isReady: true), host: host)
            #expect(run.status == .failed)
            #expect(run.error.contains("nothing is changed"))
            #expect(host.files == files)
            #expect(!host.done.contains { $0.hasPrefix("systemctl enable") })
        }
    }

    @Test func saysWhatIsMissing() async throws {
        let cases: [(StubHost, String)] = [
            (StubHost(isRoot: false), "this needs root"), (StubHost(hasSystemd: false), "not run by systemd"),
            (StubHost(answers: [Self.show: .init(code: 0, output: "not-found\n")]), "nodemeshd is not installed here"),
        ]
        for (host, text) in cases {
            let run = await CommandLineRun(Self.line, host: host)
            #expect(run.status != .success && run.error.contains(text), "\(run.error)")
            #expect(host.files.isEmpty)
        }
        let run = await CommandLineRun(
            Self.line + " --timeout 1s", transport: try Self.status(isReady: false, problem: "no view yet"),
            host: StubHost(answers: Self.loaded))
        #expect(run.status == .failed && run.error.contains("not ready after 1.0s: no view yet"), "\(run.error)")
    }

    @Test(arguments: [
        "--control 192.0.2.1 --ca-fingerprint \(fingerprint) --join-token nmjt.a.b",
        "--control -x:1 --ca-fingerprint \(fingerprint) --join-token nmjt.a.b",
        "--control h:1 --ca-fingerprint sha256:12 --join-token nmjt.a.b",
        "--control h:1 --ca-fingerprint \(fingerprint)",
        "--control h:1 --ca-fingerprint \(fingerprint) --join-token nmjt.a.b --join-token-file /x",
        "--control h:1 --ca-fingerprint \(fingerprint) --join-token nmjt.a.b --node a/b",
    ])
    func refusesAWrongCommandLine(words: String) async {
        let host = StubHost(answers: Self.loaded)
        #expect(await CommandLineRun("install-node \(words)", host: host).status == .usage)
        #expect(host.done.isEmpty)
    }

    @Test func takesTheTokenFromStandardInput() async throws {
        let line = "install-node --control h:1 --ca-fingerprint \(Self.fingerprint) --join-token-file -"
        let good = StubHost(answers: Self.loaded)
        let run = await CommandLineRun(
            line, transport: try Self.status(isReady: true), input: "nmjt.a.b\n", host: good)
        #expect(run.status == .success && good.done.contains(Self.join))
        let bad = await CommandLineRun(line, input: "hello\n", host: StubHost(answers: Self.loaded))
        #expect(bad.status == .failed && bad.error.contains("not a join token"))
    }

    @Test func tellsBeforeItUninstalls() async {
        let files = [Self.file: "dataDir: /srv/mesh\ninstance: two\n", "/srv/mesh/node.pem": "x", "/etc/other": "y"]
        let host = StubHost(files: files, answers: Self.loaded, listener: 12)
        let run = await CommandLineRun("uninstall-node --leave open", host: host)
        #expect(run.status == .failed)
        #expect(run.error.contains("Would take 7 programs and maps of instance two out of the kernel"))
        #expect(run.error.contains("Would remove /srv/mesh.\n"))
        #expect(host.files == files && host.done == [Self.show])

        let done = await CommandLineRun("uninstall-node --leave open --purge --yes", host: host)
        #expect(done.status == .success, "\(done.error)")
        #expect(host.files == ["/etc/other": "y"])
        #expect(
            host.done.dropFirst(2) == [
                "systemctl disable --quiet --now nodemeshd.service", "systemctl reset-failed nodemeshd.service",
                "terminate 12", "detach two open", "remove /srv/mesh", "remove \(Self.file)",
            ])
    }

    @Test func waitsForADaemonThatIsNoService() async {
        let host = StubHost(hasSystemd: false, listener: 12, busy: 3)
        let run = await CommandLineRun("uninstall-node --leave refused --yes --instance lab", host: host)
        #expect(run.status == .success, "\(run.error)")
        #expect(host.done == ["terminate 12", "detach lab refused"])
        #expect(run.error.contains("7 programs and maps of instance lab stay in the kernel and refuse"))
        let stuck = await CommandLineRun(
            "uninstall-node --leave open --yes", host: StubHost(hasSystemd: false, busy: 100_000))
        #expect(stuck.status == .failed && stuck.error.contains("does not answer at /run/nodemesh/nodemeshd.sock"))
        let user = await CommandLineRun("uninstall-node --leave open --yes", host: StubHost(isRoot: false))
        #expect(user.status == .failed && user.error.contains("this needs root"))
    }

    @Test(arguments: [
        ("", "a: 1\n"), ("b: 2\n", "b: 2\na: 1\n"), ("#a: 0\nb: 2", "a: 1\nb: 2\n"), ("a : x\nb: 2\n", "a: 1\nb: 2\n"),
        ("a:\n  - x\n- y\nb: 2\n", "a: 1\nb: 2\n"),
        ("# a: in a sentence\nab: 3\n", "# a: in a sentence\nab: 3\na: 1\n"),
        ("#a: 0\na: 5 # why\n", "#a: 0\na: 1\n"),
    ])
    func settingsKeepTheRest(before: String, after: String) {
        var settings = SettingsText(before)
        settings.set("a", "1")
        #expect(settings.text == after)
        #expect(settings.value(of: "a") == "1")
    }

    @Test func scalarsStayWhatTheyAre() {
        for value in ["192.0.2.1:15012", "[fd00::1]:15012", "a\"b\\c", "n1", "-", "x:", "yes", "fd00::1"] {
            var settings = SettingsText("")
            settings.set("key", SettingsText.scalar(value))
            #expect(settings.value(of: "key") == value)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import MeshCLI
import Testing

/// `config` and `logs`.
struct ConfigVerbTests {
    private static func json(_ value: some Encodable) throws -> String {
        String(decoding: try AdminJSON.encoder.encode(value), as: UTF8.self)
    }

    private static func file(_ text: String) throws -> String {
        let path = NSTemporaryDirectory() + "nodemeshctl-\(UUID().uuidString).yaml"
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        return path
    }

    @Test func validateTellsEveryFaultAndItsStatus() async throws {
        let path = try Self.file("controlPlane: cp:15012\nlogLevl: info\nloops: 99\n")
        defer { try? FileManager.default.removeItem(atPath: path) }
        let run = await CommandLineRun("config validate \(path)")
        #expect(run.status == .failed)
        #expect(run.error.contains("\(path):2: logLevl: unknown key; did you mean logLevel?\n"))
        #expect(run.error.contains("\(path):3: loops: '99' is not a whole number from 0 to 64\n"))
        #expect(run.output.isEmpty)
        let missing = await CommandLineRun("config validate \(path).none")
        #expect(missing.status == .failed)
    }

    @Test func validateKnowsBothDaemons() async throws {
        let path = try Self.file("nodeTimeout: 10\n")
        defer { try? FileManager.default.removeItem(atPath: path) }
        #expect(await CommandLineRun("config validate --daemon nodemesh-control \(path)").status == .success)
        let run = await CommandLineRun("config validate \(path) --set controlPlane=cp:1")
        #expect(run.status == .failed)
        #expect(run.error.contains("nodeTimeout: unknown key"))
    }

    @Test func theDefaultFileIsValid() async throws {
        let text = await CommandLineRun("config default").output
        let path = try Self.file(text)
        defer { try? FileManager.default.removeItem(atPath: path) }
        #expect(await CommandLineRun("config validate \(path) --set controlPlane=cp:1").status == .success)
    }

    @Test func showTellsWhatWaitsForARestart() async throws {
        let summary = ConfigurationSummary(
            program: "nodemeshd", file: "f.yaml",
            entries: [
                .init(key: "node", values: ["n1"], origin: "default", isLive: false, pending: nil),
                .init(key: "loops", values: ["1"], origin: "f.yaml:3", isLive: false, pending: ["2"]),
                .init(key: "failMode", values: ["open"], origin: "f.yaml:4", isLive: true, pending: nil),
            ], problems: ["f.yaml:9: broken"])
        let stub = StubTransport(["GET /v1/config": .response(200, try Self.json(summary))])
        let run = await CommandLineRun("config show --origin", transport: stub)
        #expect(
            run.output == """
                KEY       VALUE  CHANGES WITH  FROM
                loops     1      restart       f.yaml:3
                failMode  open   reload        f.yaml:4

                """)
        #expect(run.error.contains("loops: 2 after a restart of nodemeshd; in force is 1\n"))
        #expect(run.error.contains("the last reload changed nothing: f.yaml:9: broken\n"))
        let wide = await CommandLineRun("config show -o wide --control", transport: stub)
        #expect(wide.output.contains("node "))
        #expect(await CommandLineRun("config show -o yaml", transport: stub).output.contains("origin: f.yaml:3"))
    }

    @Test func levelsAreShownAndChanged() async throws {
        let summary = LogLevelSummary(
            configured: "info",
            components: [
                .init(component: "dns", level: "debug", isChanged: true, until: CommandLineRun.now + 60),
                .init(component: "data-plane", level: "info", isChanged: false, until: nil),
            ])
        let answer = StubTransport.Answer.response(200, try Self.json(summary))
        let stub = StubTransport(["GET /v1/logs/levels": answer, "POST /v1/logs/levels": answer])
        let run = await CommandLineRun("logs level", transport: stub)
        #expect(
            run.output == """
                COMPONENT   LEVEL  CHANGED
                data-plane  info   -
                dns         debug  ends in 1m00s

                """)
        let one = await CommandLineRun("logs level dns", transport: stub)
        #expect(!one.output.contains("data-plane") && one.output.contains("dns"))
        #expect(await CommandLineRun("logs level none", transport: stub).status == .notFound)
        _ = await CommandLineRun("logs level debug --for 10m", transport: stub)
        _ = await CommandLineRun("logs level dns trace", transport: stub)
        _ = await CommandLineRun("logs level default", transport: stub)
        let sent = stub.sent.compactMap(\.body).compactMap {
            try? AdminJSON.decoder.decode(LogLevelRequest.self, from: $0)
        }
        #expect(
            sent == [
                .init(component: nil, level: "debug", seconds: 600),
                .init(component: "dns", level: "trace", seconds: nil),
                .init(component: nil, level: nil, seconds: nil),
            ])
    }

    @Test(arguments: ["logs level dns loud", "logs level --for 1m", "logs level default --for 1m"])
    func wrongLevelsAreMistakes(line: String) async {
        #expect(await CommandLineRun(line).status == .usage)
    }
}

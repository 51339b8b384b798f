// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshAdminAPI
import Testing

@testable import MeshCLI

/// `bugreport`: what is in the archive, and what must not be.
struct BugreportTests {
    /// Each is a secret of another kind; none may leave.
    private static let canaries = [
        "CANARYjointoken0001", "CANARYadmintoken0002", "CANARYprivatekey0003", "CANARYpassword0004",
        String(repeating: "ca9a4ee5", count: 8), "CANARYbearer0006", "CANARYknown0007",
    ]

    private static let hostile = """
        {"joinToken":"nmjt.abc.CANARYjointoken0001","adminToken":"CANARYadmintoken0002","shown":"kept",
        "pem":"-----BEGIN PRIVATE KEY-----\\nCANARYprivatekey0003\\n-----END PRIVATE KEY-----\\n",
        "password": "CANARYpassword0004", "traffic":"\(Self.canaries[4])",
        "header":"Authorization: Bearer CANARYbearer0006", "text":"CANARYknown0007"}
        """

    @Test func secretsOfEveryKindAreTakenOut() {
        let redactor = Redactor(known: ["CANARYknown0007"])
        let text = redactor.redact(
            Self.hostile + """

                joinToken: nmjt.abc.CANARYjointoken0001
                -----BEGIN EC PRIVATE KEY-----
                CANARYprivatekey0003
                -----END EC PRIVATE KEY-----
                CLIENT_TRAFFIC_SECRET_0 \(Self.canaries[4]) \(Self.canaries[4])
                the join token nmjt.x.CANARYjointoken0001 was refused
                after the key
                """)
        for canary in Self.canaries { #expect(!text.contains(canary), "\(canary) in \(text)") }
        #expect(text.contains("after the key") && text.contains("\"shown\":\"kept\""))
    }

    @Test func whatIsNoSecretStays() {
        let text = """
            {"fingerprint":"sha256:\(String(repeating: "ab", count: 32))","values":["(redacted)"]}
            nodemesh_control_join_tokens 3
            "token":null
            spiffe://mesh.internal/ns/shop/sa/token-server
            """
        #expect(Redactor(known: [""]).redact(text) == text)
    }

    @Test func theArchiveHoldsWhatAnswersAndNamesWhatDoesNot() async throws {
        let directory = NSTemporaryDirectory() + "bugreport-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let token = directory + "/token"
        try Data("CANARYknown0007".utf8).write(to: URL(fileURLWithPath: token))
        let file = directory + "/report.tar.gz"
        // The node answers all but its metrics with secrets; the control plane is not there.
        let stub = StubTransport(
            [
                "node GET /v1/metrics": .response(500, "{\"error\":\"no metrics\"}"),
                "control GET /v1/status": .failure(.refused),
            ], otherwise: .response(200, Self.hostile))
        let line = "bugreport --file \(file) --token-file \(token) --since 1m"
        let run = await CommandLineRun(line, transport: stub)
        #expect(run.status == .success && run.output == file + "\n", "\(run.error)")
        #expect(run.error.contains("missing: node/metrics.txt") && run.error.contains("missing: control"))
        #expect(try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int == 0o600)
        // Nothing is overwritten.
        #expect(await CommandLineRun(line, transport: stub).status == .failed)

        let tar = Process()
        tar.executableURL = URL(fileURLWithPath: "/bin/tar")
        tar.arguments = ["-xzf", file, "-C", directory]
        try tar.run()
        tar.waitUntilExit()
        #expect(tar.terminationStatus == 0)
        let paths = try #require(FileManager.default.enumerator(atPath: directory)).compactMap { $0 as? String }
        for name in ["report.txt", "node/status.json", "node/bpf.json", "system/proc/version"] {
            #expect(paths.contains { $0.hasSuffix(name) }, "\(name) in \(paths)")
        }
        for path in paths where path.hasPrefix("nodemesh-bugreport") {
            guard let data = FileManager.default.contents(atPath: directory + "/" + path) else { continue }
            let text = String(decoding: data, as: UTF8.self)
            for canary in Self.canaries { #expect(!text.contains(canary), "\(canary) in \(path)") }
        }
    }

    @Test func aDeadDaemonIsNoObstacle() async throws {
        let file = NSTemporaryDirectory() + "bugreport-\(UUID().uuidString).tar.gz"
        defer { try? FileManager.default.removeItem(atPath: file) }
        let stub = StubTransport([:], otherwise: .failure(.noSuchSocket))
        let run = await CommandLineRun("bugreport --file \(file)", transport: stub)
        #expect(run.status == .success)
        #expect(run.error.contains("missing: node: the rest was not asked for"))
        #expect(FileManager.default.contents(atPath: file)?.starts(with: [0x1f, 0x8b]) == true)
    }
}

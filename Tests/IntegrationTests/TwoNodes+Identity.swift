// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

extension TwoNodes {
    /// Who may speak at the tunnel port of the second node, tried with `openssl s_client` from the first; and who gets
    /// which certificate.
    @Suite("two nodes: identity")
    struct Identity {
        let lab = Lab.current

        private static let control = "/run/nodemesh-lab/\(Lab.name)/control/data"
        private static let directory = "/run/nodemesh-lab/\(Lab.name)/certificates"
        private static let alice = "spiffe://mesh.internal/ns/shop/sa/alice"
        private static let far = "far.shop.workload.mesh.internal"
        private static let always = ("20200101000000Z", "20400101000000Z")

        /// A client certificate that must not be accepted.
        struct Refused: CustomTestStringConvertible, Sendable {
            var testDescription: String
            var identity = Identity.alice
            var start = Identity.always.0
            var end = Identity.always.1
            /// Signed by the mesh's own authority.
            var isOurs = true
        }

        static let refused: [Refused] = [
            Refused(testDescription: "expired", end: "20200102000000Z"),
            Refused(testDescription: "not valid yet", start: "20390101000000Z"),
            Refused(testDescription: "of a foreign authority", isOurs: false),
            Refused(testDescription: "of another trust domain", identity: "spiffe://other.domain/ns/shop/sa/alice"),
            Refused(testDescription: "without a SPIFFE ID", identity: "https://mesh.internal/ns/shop/sa/alice"),
            Refused(testDescription: "of a node, not a workload", identity: "spiffe://mesh.internal/node/n1"),
        ]

        @Test("a valid client certificate is accepted: the other tests fail for the reason they name")
        func accepted() throws {
            let files = try Self.issue(Refused(testDescription: "valid"))
            let answer = try self.connect(certificate: files)
            #expect(answer.output.hasPrefix("HTTP/1.1 200 OK\r\n"), "\(answer)")
            #expect(answer.output.hasSuffix("far\n"), "\(answer)")
        }

        @Test("a client certificate is refused", arguments: Self.refused)
        func refusedCertificate(_ certificate: Refused) throws {
            try self.expectRefusal(self.connect(certificate: Self.issue(certificate)))
        }

        @Test("no client certificate is refused")
        func noCertificate() throws { try self.expectRefusal(self.connect(certificate: nil)) }

        @Test(
            "a server name that is no workload of the node is refused",
            arguments: ["near.shop.workload.mesh.internal", "nobody.shop.workload.mesh.internal", "example.com", nil])
        func unknownName(_ name: String?) throws {
            let files = try Self.issue(Refused(testDescription: "valid"))
            try self.expectRefusal(self.connect(certificate: files, serverName: name))
        }

        @Test("TLS 1.2 is refused")
        func oldVersion() throws {
            let files = try Self.issue(Refused(testDescription: "valid"))
            try self.expectRefusal(self.connect(certificate: files, version: "-tls1_2"))
        }

        @Test(
            "a CONNECT that is wrong gets an error and no connection",
            arguments: [
                // Another workload's address under this one's name.
                "CONNECT 10.201.2.3:7006 HTTP/1.1\r\nHost: 10.201.2.3:7006\r\n\r\n",
                "CONNECT 127.0.0.1:7006 HTTP/1.1\r\nHost: 127.0.0.1:7006\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: 10.201.2.2:7006\r\n\r\n",
                "CONNECT 10.201.2.2:99999 HTTP/1.1\r\nHost: x\r\n\r\n",
                "\u{0}\u{1}\u{2}\r\n\r\n",
                "CONNECT 10.201.2.2:7006 HTTP/1.1\r\nx: " + String(repeating: "x", count: 100_000) + "\r\n\r\n",
            ])
        func wrongRequest(_ request: String) throws {
            let files = try Self.issue(Refused(testDescription: "valid"))
            let answer = try self.connect(certificate: files, request: request)
            #expect(!answer.output.contains(" 200 "), "\(answer)")
            #expect(!answer.output.hasSuffix("far\n"), "\(answer)")
            // The node took no harm.
            #expect(try self.lab.peer("alice", "talk", Server.far.address, "7006").output == "far\n")
        }

        @Test("the server shows the certificate of the workload that is asked for", arguments: ["far", "farther"])
        func serverCertificate(_ workload: String) throws {
            let files = try Self.issue(Refused(testDescription: "valid"))
            let show =
                "openssl s_client -connect 10.200.0.12:15008 -alpn http/1.1 -cert \(files.certificate) "
                + "-key \(files.key) -servername \(workload).shop.workload.mesh.internal </dev/null 2>/dev/null "
                + "| openssl x509 -noout -ext subjectAltName"
            let answer = try self.lab.execute("n1", ["sh", "-c", show])
            // Both run under one service account.
            #expect(answer.output.contains("URI:spiffe://mesh.internal/ns/shop/sa/far"), "\(answer)")
        }

        /// Somebody else at the second node's tunnel port, and why the first node hangs up.
        struct Impostor: CustomTestStringConvertible, Sendable {
            var testDescription: String
            var certificate: Refused
            var reasons: [String]
        }

        private static let farIdentity = "spiffe://mesh.internal/ns/shop/sa/far"

        static let impostors: [Impostor] = [
            Impostor(
                testDescription: "another workload of the mesh",
                certificate: Refused(testDescription: "bob", identity: "spiffe://mesh.internal/ns/other/sa/bob"),
                reasons: ["identity_mismatch"]),
            Impostor(
                testDescription: "the right name from a foreign authority",
                certificate: Refused(testDescription: "foreign far", identity: Self.farIdentity, isOurs: false),
                reasons: ["tls_failed", "identity_mismatch"]),
            Impostor(
                testDescription: "the right name of last year",
                certificate: Refused(testDescription: "old far", identity: Self.farIdentity, end: "20200102000000Z"),
                reasons: ["tls_failed", "identity_mismatch"]),
            // Its TLS is right, so that the others fail for the reason they name; what it says is not.
            Impostor(
                testDescription: "the right name, with nonsense for an answer",
                certificate: Refused(testDescription: "true far", identity: Self.farIdentity),
                reasons: ["protocol_error"]),
        ]

        @Test("an impostor at a node's tunnel port gets nothing", arguments: Self.impostors)
        func impostor(_ impostor: Impostor) throws {
            let files = try Self.issue(impostor.certificate)
            let mark = try self.lab.accessLogMark("n1")
            try self.lab.run("kill", "n2", "-9")
            // It sends back each line it gets, reversed.
            let server = try self.lab.start(
                "n2",
                [
                    "openssl", "s_server", "-accept", "15008", "-alpn", "http/1.1", "-verify", "1", "-rev", "-cert",
                    files.certificate, "-key", files.key,
                ])
            _ = try eventually(
                "the impostor", { try self.lab.execute("n2", ["ss", "-Hltn", "sport = :15008"]).lines.count }
            ) { $0 > 0 }
            let answer = try self.lab.peer("alice", "end", Server.far.address, "7006", "a secret")
            #expect(["reset ", "refused "].contains(answer.lines.first), "\(answer)")
            let entry = try eventually("the access log", { try self.lab.accessLog("n1", since: mark).last }) {
                $0 != nil
            }
            #expect(impostor.reasons.contains(entry?.reason ?? ""), "\(String(describing: entry))")
            #expect(!server.output.contains("a secret"))
            server.terminate()
            _ = try server.result()
            try self.lab.run("start", "n2")
            _ = try eventually(
                "the true one", { try self.lab.peer("alice", "talk", Server.far.address, "7006").output }
            ) {
                $0 == "far\n"
            }
        }

        @Test("a node gets no certificate for a workload that it does not run", arguments: ["far", "nobody"])
        func foreignIdentity(_ account: String) throws {
            let answer = try self.sign(for: "spiffe://mesh.internal/ns/shop/sa/\(account)")
            // 7: PERMISSION_DENIED.
            #expect(answer.output.contains("grpc-status: 7"), "\(answer)")
            #expect(!answer.output.contains("BEGIN CERTIFICATE"))
        }

        @Test("and it gets one for a workload that it runs")
        func ownIdentity() throws {
            let answer = try self.sign(for: Self.alice)
            #expect(answer.output.contains("grpc-status: 0"), "\(answer)")
            #expect(answer.output.contains("BEGIN CERTIFICATE"), "\(answer)")
        }

        @Test("without a node's certificate nobody gets anything")
        func noNodeCertificate() throws {
            let answer = try self.sign(for: Self.alice, asNode: false)
            #expect(!answer.output.contains("BEGIN CERTIFICATE"), "\(answer)")
            #expect(!answer.output.contains("grpc-status: 0"), "\(answer)")
        }

        @Test("a join token works once")
        func tokenOnce() throws {
            let node = "/run/nodemesh-lab/\(Lab.name)/nodes/n1"
            let fingerprint = try String(contentsOfFile: "\(node)/ca-fingerprint", encoding: .utf8)
            let binaries = ProcessInfo.processInfo.environment["NODEMESH_BIN"]
            let daemon = "\(binaries ?? Lab.repository.appending(path: ".build/debug").path)/nodemeshd"
            let stranger = "\(Self.directory)/stranger"
            try FileManager.default.createDirectory(atPath: stranger, withIntermediateDirectories: true)
            let answer = try self.lab.execute(
                "control",
                [
                    "timeout", "20", daemon, "serve", "--config", "\(node)/config.yaml", "--node", "n1",
                    "--control-plane", "10.200.0.1:15012", "--ca-fingerprint", fingerprint, "--join-token-file",
                    "\(node)/join-token", "--data-dir", stranger, "--run-dir", stranger, "--instance",
                    "\(Lab.name)-stranger",
                ])
            #expect(answer.status != 0)
            #expect((answer.output + answer.errors).contains("token"), "\(answer)")
            let files = FileManager.default.enumerator(atPath: stranger)?.compactMap { $0 as? String } ?? []
            #expect(!files.contains { $0.hasSuffix(".pem") }, "\(files)")
        }

        // Helpers

        private struct Files {
            var certificate: String
            var key: String
        }

        private static func issue(_ wanted: Refused) throws -> Files {
            let name = wanted.testDescription.replacingOccurrences(of: " ", with: "-")
                .replacingOccurrences(of: ",", with: "")
            let authority = wanted.isOurs ? ["\(Self.control)/ca.pem", "\(Self.control)/ca.pem"] : []
            let made = try Program.run(
                ["\(Lab.resources)/issue.sh", Self.directory, name, wanted.identity, wanted.start, wanted.end]
                    + authority)
            guard made.status == 0 else { throw ProgramError(description: "\(made)") }
            return Files(certificate: "\(Self.directory)/\(name).pem", key: "\(Self.directory)/\(name).key")
        }

        private func connect(
            certificate: Files?, serverName: String? = Self.far, version: String = "-tls1_3",
            request: String = "CONNECT 10.201.2.2:7006 HTTP/1.1\r\nHost: 10.201.2.2:7006\r\n\r\n"
        ) throws -> ProgramResult {
            var command = ["timeout", "15", "openssl", "s_client", "-connect", "10.200.0.12:15008", version, "-quiet"]
            command += ["-alpn", "http/1.1"]
            command += serverName.map { ["-servername", $0] } ?? ["-noservername"]
            if let certificate { command += ["-cert", certificate.certificate, "-key", certificate.key] }
            return try self.lab.execute("n1", command, input: request)
        }

        private func expectRefusal(_ answer: ProgramResult, sourceLocation: SourceLocation = #_sourceLocation) {
            #expect(!answer.output.contains(" 200 "), "\(answer)", sourceLocation: sourceLocation)
            #expect(!answer.output.hasSuffix("far\n"), "\(answer)", sourceLocation: sourceLocation)
            // 124: nobody said anything, and timeout(1) ended the wait.
            #expect(answer.status != 124, "\(answer)", sourceLocation: sourceLocation)
            // Told so, in TLS or in HTTP.
            #expect(
                answer.errors.contains("alert") || answer.output.contains("403"), "\(answer)",
                sourceLocation: sourceLocation)
        }

        /// Asks the control plane's authority for a certificate as node n1 would, with curl for a gRPC client.
        private func sign(for identity: String, asNode: Bool = true) throws -> ProgramResult {
            let data = "/run/nodemesh-lab/\(Lab.name)/nodes/n1/data"
            let name = "request-\(UUID().uuidString)"
            let script = """
                set -e
                mkdir -p \(Self.directory); cd \(Self.directory)
                openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out \(name).key 2>/dev/null
                openssl req -new -key \(name).key -subj / -addext subjectAltName=URI:\(identity) -out \(name).csr
                /usr/bin/python3 \(Lab.resources)/sign_request.py \(name).csr \(identity) >\(name).bin
                curl -sS --http2 --max-time 15 \(asNode ? "--cert \(data)/node.pem --key \(data)/node.pem" : "") \
                    --cacert \(Self.control)/ca.crt --connect-to nodemesh-control:15012:10.200.0.1:15012 \
                    -H 'content-type: application/grpc' -H 'te: trailers' --data-binary @\(name).bin -D - -o - \
                    https://nodemesh-control:15012/istio.v1.auth.IstioCertificateService/CreateCertificate
                """
            return try self.lab.execute("n1", ["sh", "-c", script])
        }
    }
}

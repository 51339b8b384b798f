// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshModel
import MeshTelemetry
import Testing

@Suite struct AccessLogTests {
    private func parse(_ line: String) throws -> [String: Any] {
        #expect(line.hasSuffix("\n"))
        #expect(line.dropLast().allSatisfy { !$0.isNewline })
        return try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    }

    // MARK: - Lines

    @Test func aFullLine() throws {
        let line = AccessLogLine.text(
            try record(9) {
                $0.upstream = SocketAddress("172.16.0.2:15008")
                $0.bytesSent = 1
                $0.bytesReceived = .max
                $0.duration = 1_500_250_999
                $0.reason = .policyDenied
                $0.policy = NamespacedName(namespace: "shop", name: "deny")
                $0.detail = "denied by the peer"
                $0.trace = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
                $0.phases[.firstByteReceived] = 4000
                $0.phases[.capture] = 12
                $0.tcp = TCPHealth(smoothedRTT: 250, leastRTT: 200, sentSegments: 7, retransmittedSegments: 1)
            })
        #expect(
            line
                == #"{"timestamp":"2023-11-14T22:13:21.623707Z","event":"close","connection":9,"direction":"outbound","#
                + #""src.addr":"10.0.0.1:40000","src.workload":"web","src.namespace":"shop","#
                + #""src.identity":"spiffe://mesh.internal/ns/shop/sa/web","dst.addr":"240.240.0.1:80","#
                + #""dst.service":"shop/backend","dst.workload":"backend-1","dst.namespace":"shop","#
                + #""dst.identity":"spiffe://mesh.internal/ns/shop/sa/backend","dst.upstream":"172.16.0.2:15008","#
                + #""wire":"splice","bytes_sent":1,"bytes_recv":18446744073709551615,"duration_ms":1500.250,"#
                + #""reason":"policy_denied","policy":"shop/deny","detail":"denied by the peer","#
                + #""traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","#
                + #""phases":{"capture":12,"first_byte_received":4000},"#
                + #""tcp":{"srtt":250,"segments":7,"retransmitted":1}}"# + "\n")
        #expect(try self.parse(line).count == 24)
    }

    @Test func dryRunsThatWouldChangeTheAnswerAreNamed() throws {
        let policies = ["a", "b", "c"].map { NamespacedName(namespace: "shop", name: $0) }
        func outcome(_ index: Int, _ wouldAllow: Bool) -> PolicyDecision.DryRun {
            .init(policy: policies[index], action: .deny, rule: 0, wouldAllow: wouldAllow)
        }
        let allowed = try self.parse(
            AccessLogLine.text(
                try record(1) {
                    $0.note(
                        .init(
                            isAllowed: true, policy: policies[0], rule: 2, reason: .matchedAllow,
                            dryRun: [outcome(0, false), outcome(1, true), outcome(2, false)]))
                }))
        #expect(allowed["dry_run_denied"] as? [String] == ["shop/a", "shop/c"])
        #expect(allowed["dry_run_allowed"] == nil)
        #expect(allowed["policy_rule"] as? Int == 2)
        #expect(allowed["policy_reason"] as? String == "matched_allow")
        let denied = try self.parse(
            AccessLogLine.text(
                try record(1) {
                    $0.note(
                        .init(
                            isAllowed: false, reason: .noAllowMatched,
                            dryRun: [outcome(0, false), outcome(1, true)]))
                }))
        #expect(denied["dry_run_allowed"] as? [String] == ["shop/b"])
        #expect(denied["dry_run_denied"] == nil)
    }

    @Test func dryRunsAreCountedByWhatTheyWouldChange() throws {
        let registry = MetricsRegistry()
        let metrics = DryRunMetrics(registry: registry)
        let policy = NamespacedName(namespace: "shop", name: "p")
        for (isAllowed, wouldAllow) in [(true, true), (true, false), (true, false), (false, true)] {
            metrics.count(
                try record(1) {
                    $0.note(
                        .init(
                            isAllowed: isAllowed, reason: isAllowed ? .noPolicies : .matchedDeny,
                            dryRun: [.init(policy: policy, action: .deny, rule: nil, wouldAllow: wouldAllow)]))
                })
        }
        metrics.count(try record(2))
        let text = registry.render()
        for (result, count) in [("unchanged", 1), ("would_deny", 2), ("would_allow", 1)] {
            #expect(text.contains("nodemesh_policy_dry_run_total{policy=\"shop/p\",result=\"\(result)\"} \(count)\n"))
        }
    }

    @Test func whatIsNotKnownIsLeftOut() throws {
        let line = AccessLogLine.text(
            ConnectionRecord(
                id: 1, direction: .inbound, sourceAddress: try #require(SocketAddress("[fd00::1]:1")),
                destination: try #require(SocketAddress("10.0.0.2:80")), openedAt: 0))
        let keys = Set(try self.parse(line).keys)
        #expect(
            keys == [
                "timestamp", "event", "connection", "direction", "src.addr", "dst.addr", "wire", "bytes_sent",
                "bytes_recv",
                "duration_ms",
            ])
    }

    @Test(arguments: [
        "plain", "a\"b\\c", "a\nb\r\nc\td", "\u{0}\u{1}\u{1f}\u{7f}\u{85}", "\u{2028}\u{2029}", "grüße 🦊", "</script>",
        "",
    ])
    func anyTextIsOneLineOfJSON(_ text: String) throws {
        let line = AccessLogLine.text(try record(1) { $0.detail = text })
        #expect(try self.parse(line)["detail"] as? String == text)
    }

    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000000Z"), (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (951_868_799, "2000-02-29T23:59:59.000000Z"), (1_709_164_800, "2024-02-29T00:00:00.000000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000000Z"), (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] as [(UInt64, String)])
    func timestamps(_ seconds: UInt64, _ expected: String) {
        #expect(AccessLogLine.timestamp(seconds * 1_000_000_000) == expected)
    }

    @Test func timestampsAgreeWithFoundation() throws {
        let style = Date.ISO8601FormatStyle(includingFractionalSeconds: false)
        for seconds in stride(from: UInt64(0), to: 8_000_000_000, by: 86_400 * 37 + 12_345) {
            let text = AccessLogLine.timestamp(seconds * 1_000_000_000 + 1000)
            let expected = Date(timeIntervalSince1970: Double(seconds)).formatted(style)
            #expect(text == expected.dropLast() + ".000001Z")
        }
        #expect(AccessLogLine.timestamp(.max).hasPrefix("2554-07-21T23:34:33"))
    }

    // MARK: - The writer

    /// A directory that is gone after the test.
    private func withDirectory(_ body: (URL) throws -> Void) throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "nodemesh-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        try body(directory)
    }

    private func connections(_ file: URL) throws -> [Int] {
        try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map {
            try #require(try self.parse($0 + "\n")["connection"] as? Int)
        }
    }

    @Test func everyRecordIsWrittenInOrderBeforeTheEnd() throws {
        try self.withDirectory { directory in
            let file = directory.appending(path: "access.log")
            let registry = MetricsRegistry()
            let log = try AccessLog(
                settings: .init(target: .file(file.path())), capacity: 10_000, registry: registry)
            for id in 0..<5000 as Range<UInt64> { log.write(try record(id)) }
            #expect(log.close())
            #expect(try self.connections(file) == Array(0..<5000))
            #expect(log.counts == (5000, 0))
            #expect(registry.render().contains("nodemesh_access_log_lines_total 5000\n"))
            log.write(try record(1))
            #expect(log.counts == (5000, 1))
            #expect(log.close())
        }
    }

    @Test func linesAreAddedToAnOldFile() throws {
        try self.withDirectory { directory in
            let file = directory.appending(path: "access.log")
            for id in 1...2 as ClosedRange<UInt64> {
                let log = try AccessLog(settings: .init(target: .file(file.path())))
                log.write(try record(id))
                #expect(log.close())
            }
            #expect(try self.connections(file) == [1, 2])
        }
    }

    @Test func aRenamedFileIsLeftWhenAsked() throws {
        try self.withDirectory { directory in
            let (file, old) = (directory.appending(path: "access.log"), directory.appending(path: "access.log.1"))
            let log = try AccessLog(settings: .init(target: .file(file.path())))
            log.write(try record(1))
            while log.counts.written < 1 { sched_yield() }
            try FileManager.default.moveItem(at: file, to: old)
            log.write(try record(2))
            while log.counts.written < 2 { sched_yield() }
            log.reopen()
            log.write(try record(3))
            #expect(log.close())
            #expect(try self.connections(old) == [1, 2])
            #expect(try self.connections(file) == [3])
        }
    }

    @Test func aFileThatCannotBeReopenedIsKept() throws {
        try self.withDirectory { directory in
            let inner = directory.appending(path: "logs")
            try FileManager.default.createDirectory(at: inner, withIntermediateDirectories: true)
            let log = try AccessLog(settings: .init(target: .file(inner.appending(path: "access.log").path())))
            try FileManager.default.moveItem(at: inner, to: directory.appending(path: "moved"))
            log.reopen()
            log.write(try record(1))
            #expect(log.close())
            #expect(try self.connections(directory.appending(path: "moved/access.log")) == [1])
        }
    }

    /// A full pipe stops the writer and nobody else; what does not fit is counted.
    @Test func aStuckReaderCostsLinesAndNoTime() throws {
        try self.withDirectory { directory in
            let pipe = directory.appending(path: "pipe").path()
            #expect(mkfifo(pipe, 0o600) == 0)
            let reader = open(pipe, O_RDONLY | O_NONBLOCK)
            #expect(reader >= 0)
            let log = try AccessLog(settings: .init(target: .file(pipe)), capacity: 100)
            for id in 0..<10_000 as Range<UInt64> { log.write(try record(id)) }
            #expect(log.counts.dropped > 0)
            #expect(log.counts.written + log.counts.dropped < 10_000)
            #expect(!log.close(timeout: 0))
            // The reader goes: the rest cannot be written, the thread ends, and everything is accounted for.
            close(reader)
            #expect(log.close(timeout: 10))
            #expect(log.counts.written + log.counts.dropped == 10_000)
        }
    }

    @Test(arguments: ["/nonexistent/access.log", "/", "/proc/version/x"]) func badPaths(_ path: String) {
        let error = #expect(throws: AccessLogError.self) { try AccessLog(settings: .init(target: .file(path))) }
        #expect(error?.description.contains("cannot open the access log \(path)") == true)
    }
}

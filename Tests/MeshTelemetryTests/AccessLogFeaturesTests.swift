// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshLinux
import MeshModel
import Testing

@testable import MeshTelemetry

/// Events, filters, rotation, the rate cap, and other targets than a file.
@Suite struct AccessLogFeaturesTests {
    /// A directory that is gone after the test.
    private func withDirectory(_ body: (URL) throws -> Void) throws {
        // Short: a Unix socket's path has 107 bytes.
        let directory = URL(filePath: "/tmp/nm-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        try body(directory)
    }

    private func lines(_ file: URL) throws -> [[String: Any]] {
        try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
    }

    // MARK: - What is logged

    @Test(arguments: [
        ("-", AccessLogSettings.Target.standardOutput), ("journal", .journal), ("unix:/run/x", .socket("/run/x")),
        ("/var/log/x", .file("/var/log/x")), ("relative", nil), ("unix:x", nil), ("", nil), ("Journal", nil),
    ])
    func targets(_ text: String, _ expected: AccessLogSettings.Target?) {
        #expect(AccessLogSettings.Target(text) == expected)
    }

    @Test func errorsAreAlwaysLoggedAndTheOthersByShare() throws {
        var settings = AccessLogSettings(target: .standardOutput)
        settings.events = [.open, .close]
        settings.sampling = 0.25
        var logged = 0
        for id in 0..<4000 as Range<UInt64> {
            let good = try record(id) { $0.reason = .completed }
            let isWanted = settings.isWanted(.close, good)
            // One choice for all lines of a connection.
            #expect(settings.isWanted(.open, good) == isWanted)
            if isWanted { logged += 1 }
            #expect(settings.isWanted(.close, try record(id) { $0.reason = .clientReset }))
            #expect(!settings.isWanted(.periodic, good))
        }
        #expect((900...1100).contains(logged))
        settings.sampling = 1
        settings.filter = .errors
        #expect(!settings.isWanted(.open, try record(1)))
        #expect(!settings.isWanted(.close, try record(1) { $0.reason = .completed }))
        #expect(settings.isWanted(.close, try record(1) { $0.reason = .policyDenied }))
    }

    @Test func whatTheFilterLeavesOutIsCounted() throws {
        try self.withDirectory { directory in
            let file = directory.appending(path: "access.log")
            let registry = MetricsRegistry()
            var settings = AccessLogSettings(target: .file(file.path()))
            settings.filter = .errors
            let log = try AccessLog(settings: settings, registry: registry)
            for id in 0..<10 as Range<UInt64> {
                log.write(try record(id) { $0.reason = id % 2 == 0 ? .completed : .tunnelReset })
                log.write(try record(id), event: .open)
            }
            #expect(log.close())
            #expect(try self.lines(file).count == 5)
            #expect(registry.render().contains("nodemesh_access_log_filtered_lines_total 5\n"))
        }
    }

    @Test func eventsAreNamed() throws {
        try self.withDirectory { directory in
            let file = directory.appending(path: "access.log")
            var settings = AccessLogSettings(target: .file(file.path()))
            settings.events = [.open, .periodic, .close]
            let log = try AccessLog(settings: settings)
            let open = try record(1) { $0.phases[.setup] = 2_000_000 }
            log.write(open, event: .open)
            log.write(open, event: .periodic)
            log.write(open)
            #expect(log.close())
            let lines = try self.lines(file)
            #expect(lines.compactMap { $0["event"] as? String } == ["open", "periodic", "close"])
            // When it opened, not when it was accepted.
            #expect(lines[0]["timestamp"] as? String == "2023-11-14T22:13:22.123456Z")
            #expect((lines[0]["phases"] as? [String: Int]) == ["setup": 2_000_000])
        }
    }

    // MARK: - The rate

    @Test func moreThanTheRateIsDroppedCountedAndTold() throws {
        var queue = AccessLogQueue(capacity: 100, linesPerSecond: 10)
        let entry = AccessLogQueue.Entry(event: .close, record: try record(1))
        var taken = 0
        for _ in 0..<25 where queue.add(entry, now: 1_000_000_000) { taken += 1 }
        #expect(taken == 10)
        #expect(queue.dropped == [.rate: 15])
        let first = queue.take(now: 1_000_000_000)
        #expect(first.entries.count == 10)
        #expect(first.losses == [.rate: 15])
        #expect(!queue.mayTell(1_000_000_000))
        // A tenth of a second later there is one more.
        let again = [queue.add(entry, now: 1_100_000_000), queue.add(entry, now: 1_100_000_000)]
        #expect(again == [true, false])
        let second = queue.take(now: 1_200_000_000)
        #expect(second.losses.isEmpty)
        #expect(queue.mayTell(2_000_000_000))
        let third = queue.take(now: 2_000_000_000)
        #expect(third.losses == [.rate: 1])
        #expect(queue.dropped == [.rate: 16])
    }

    @Test func whatCouldNotBeToldIsToldLater() throws {
        var queue = AccessLogQueue(capacity: 1, linesPerSecond: 0)
        let entry = AccessLogQueue.Entry(event: .close, record: try record(1))
        let taken = [queue.add(entry, now: 1), queue.add(entry, now: 1)]
        #expect(taken == [true, false])
        let batch = queue.take(now: 1)
        #expect(batch.losses == [.queue: 1])
        queue.wrote(0, of: 1, untold: batch.losses)
        #expect(queue.dropped == [.queue: 1, .write: 1])
        let next = queue.take(now: 1 + AccessLogQueue.tellInterval)
        #expect(next.losses == [.queue: 1, .write: 1])
    }

    @Test func aLineSaysHowManyAreMissing() throws {
        try self.withDirectory { directory in
            let file = directory.appending(path: "access.log")
            var settings = AccessLogSettings(target: .file(file.path()))
            settings.linesPerSecond = 5
            let log = try AccessLog(settings: settings)
            for id in 0..<1000 as Range<UInt64> { log.write(try record(id)) }
            #expect(log.close())
            let counts = log.counts
            #expect(counts.dropped > 900)
            #expect(counts.written + counts.dropped == 1000)
            let told = try self.lines(file).filter { $0["event"] as? String == "dropped" }
            #expect(!told.isEmpty)
            #expect(told.compactMap { $0["rate"] as? Int }.reduce(0, +) <= Int(counts.dropped))
        }
    }

    // MARK: - Files

    @Test func aLargeFileIsPutAway() throws {
        try self.withDirectory { directory in
            let file = directory.appending(path: "access.log")
            var settings = AccessLogSettings(target: .file(file.path()))
            settings.maxSize = 20_000
            settings.keep = 3
            let log = try AccessLog(settings: settings, capacity: 10_000)
            for id in 0..<1000 as Range<UInt64> { log.write(try record(id)) }
            #expect(log.close())
            #expect(log.counts == (1000, 0))
            let names = try FileManager.default.contentsOfDirectory(atPath: directory.path()).sorted()
            #expect(names == ["access.log", "access.log.1", "access.log.2", "access.log.3"])
            var ids: [Int] = []
            for name in names.reversed().dropLast() + ["access.log"] {
                let path = directory.appending(path: name)
                let size = try #require(try FileManager.default.attributesOfItem(atPath: path.path())[.size] as? Int)
                #expect(size <= 21_000)
                ids += try self.lines(path).compactMap { $0["connection"] as? Int }
            }
            // The newest ones, whole and in order.
            #expect(ids == Array((1000 - ids.count)..<1000))
        }
    }

    @Test func withoutPlaceForOldFilesItBeginsAnew() throws {
        try self.withDirectory { directory in
            let file = directory.appending(path: "access.log")
            var settings = AccessLogSettings(target: .file(file.path()))
            settings.maxSize = 5_000
            settings.keep = 0
            let log = try AccessLog(settings: settings, capacity: 10_000)
            for id in 0..<100 as Range<UInt64> { log.write(try record(id)) }
            #expect(log.close())
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path()) == ["access.log"])
            #expect(try self.lines(file).last?["connection"] as? Int == 99)
            let size = try FileManager.default.attributesOfItem(atPath: file.path())[.size] as? Int
            #expect(try #require(size) < 6_000)
        }
    }

    /// /dev/full fails each write with ENOSPC, as a full disk does.
    @Test func aFullDiskCostsLinesThatAreCounted() throws {
        let registry = MetricsRegistry()
        let log = try AccessLog(settings: .init(target: .file("/dev/full")), registry: registry)
        for id in 0..<500 as Range<UInt64> { log.write(try record(id)) }
        #expect(log.close())
        #expect(log.counts == (0, 500))
        #expect(registry.render().contains(#"nodemesh_access_log_dropped_lines_total{reason="write"} 500"#))
    }

    // MARK: - Sockets

    private func listener(_ path: String, _ type: __socket_type) throws -> CInt {
        let fd = socket(AF_UNIX, CInt(type.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(result == 0)
        return fd
    }

    private func receive(_ fd: CInt) -> String {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = recv(fd, &buffer, buffer.count, 0)
        return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
    }

    @Test func theJournalGetsFields() throws {
        try self.withDirectory { directory in
            let path = directory.appending(path: "journal").path()
            let journal = try self.listener(path, SOCK_DGRAM)
            defer { close(journal) }
            var settings = AccessLogSettings(target: .journal)
            settings.journalSocket = path
            let log = try AccessLog(settings: settings)
            log.write(
                try record(7) {
                    $0.reason = .policyDenied
                    $0.policy = NamespacedName(namespace: "shop", name: "deny")
                })
            let text = self.receive(journal)
            let fields = text.split(separator: "\n")
            #expect(fields.first?.hasPrefix(#"MESSAGE={"timestamp":"#) == true)
            for field in [
                "PRIORITY=5", "SYSLOG_IDENTIFIER=nodemesh-access", "NODEMESH_EVENT=close", "NODEMESH_CONNECTION=7",
                "NODEMESH_REASON=policy_denied", "NODEMESH_SOURCE=shop/web", "NODEMESH_POLICY=shop/deny",
                "NODEMESH_SOURCE_IDENTITY=spiffe://mesh.internal/ns/shop/sa/web",
            ] { #expect(fields.contains { $0 == field }, "\(field) is not in \(text)") }
            #expect(log.close())
            #expect(log.counts == (1, 0))
        }
    }

    @Test func valuesOfSeveralLinesGoToTheJournalWithTheirLength() throws {
        let line = AccessLogText(text: "a\nb\n", entry: nil)
        let expected = Array("MESSAGE\n".utf8) + [3, 0, 0, 0, 0, 0, 0, 0] + Array("a\nb\n".utf8)
        #expect(JournalSink.datagram(line).starts(with: expected))
    }

    @Test func withoutAJournalLinesAreCountedAsLost() throws {
        var settings = AccessLogSettings(target: .journal)
        settings.journalSocket = "/nonexistent/socket"
        let log = try AccessLog(settings: settings)
        log.write(try record(1))
        #expect(log.close())
        #expect(log.counts == (0, 1))
    }

    @Test func aStreamSocketGetsLines() throws {
        try self.withDirectory { directory in
            let path = directory.appending(path: "stream").path()
            let listening = try self.listener(path, SOCK_STREAM)
            defer { close(listening) }
            try #require(listen(listening, 4) == 0)
            let log = try AccessLog(settings: .init(target: .socket(path)))
            for id in 0..<3 as Range<UInt64> { log.write(try record(id)) }
            #expect(log.close())
            #expect(log.counts == (3, 0))
            let reader = accept(listening, nil, nil)
            defer { close(reader) }
            #expect(self.receive(reader).split(separator: "\n").count == 3)
        }
    }

    @Test func aDatagramSocketGetsALineEach() throws {
        try self.withDirectory { directory in
            let path = directory.appending(path: "datagrams").path()
            let socket = try self.listener(path, SOCK_DGRAM)
            defer { close(socket) }
            let log = try AccessLog(settings: .init(target: .socket(path)))
            log.write(try record(5))
            log.write(try record(6))
            #expect(log.close())
            for id in [5, 6] { #expect(self.receive(socket).contains(#""connection":\#(id),"#)) }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshModel
import MeshTelemetry
import Synchronization
import Testing

@testable import MeshAgent
@testable import MeshConfiguration

/// Which connections get lines while they are open.
@Suite struct ConnectionTelemetryTests {
    private static let second: UInt64 = 1_000_000_000

    private func record(_ id: UInt64, openedAt: UInt64) throws -> ConnectionRecord {
        ConnectionRecord(
            id: id, direction: .outbound, sourceAddress: try #require(SocketAddress("10.0.0.1:40000")),
            destination: try #require(SocketAddress("10.0.0.2:80")), openedAt: openedAt)
    }

    @Test func linesOfOpenConnectionsComeEachInterval() throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "nodemesh-\(UUID().uuidString).log")
        defer { try? FileManager.default.removeItem(at: file) }
        var settings = AccessLogSettings(target: .file(file.path()))
        settings.events = [.open, .periodic, .close]
        settings.interval = 60
        let telemetry = try ConnectionTelemetry(accessLog: settings)
        let (old, young) = (try self.record(1, openedAt: Self.second), try self.record(2, openedAt: 50 * Self.second))
        telemetry.opened(old)
        telemetry.opened(young)
        for time in stride(from: UInt64(10), through: 150, by: 10) {
            telemetry.observe([old, young], now: time * Self.second)
        }
        telemetry.closed(old)
        telemetry.observe([young], now: 155 * Self.second)
        #expect(telemetry.accessLog.close())
        let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
        func count(_ event: String, _ id: Int) -> Int {
            lines.count { $0.contains(#""event":"\#(event)","connection":\#(id),"#) }
        }
        #expect(count("open", 1) == 1 && count("open", 2) == 1)
        // At 60 and 120 seconds; at 110.
        #expect(count("periodic", 1) == 2)
        #expect(count("periodic", 2) == 1)
        #expect(count("close", 1) == 1 && count("close", 2) == 0)
    }

    @Test func aReloadMovesTheAccessLogOrSaysWhyNot() throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "nodemesh-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        func reading(_ name: String) -> ConfigurationReading<AgentConfiguration> {
            var configuration = AgentConfiguration(node: "n1")
            configuration.accessLog = directory.appending(path: name).path()
            return .init(value: configuration, origins: ["accessLog": .file(name: "node.yaml", line: 7)])
        }
        let (old, new, none) = (reading("old"), reading("new"), reading("nowhere/log"))
        let telemetry = try ConnectionTelemetry(accessLog: old.value.accessLogSettings)
        let logger = Logger(label: "test")
        #expect(telemetry.changeAccessLog(from: old.value, to: old, logger: logger).isEmpty)
        let problems = telemetry.changeAccessLog(from: old.value, to: none, logger: logger)
        #expect(problems.count == 1)
        #expect(problems.first?.hasPrefix("node.yaml:7: accessLog: cannot open the access log ") == true)
        #expect(telemetry.accessLog.settings == old.value.accessLogSettings)
        #expect(telemetry.changeAccessLog(from: old.value, to: new, logger: logger).isEmpty)
        #expect(telemetry.accessLog.settings == new.value.accessLogSettings)
        #expect(telemetry.accessLog.close())
    }

    @Test func whoeverAsksIsToldOfEnds() throws {
        let telemetry = try ConnectionTelemetry()
        let ended = Mutex<[UInt64]>([])
        telemetry.setOnEnded { record in ended.withLock { $0.append(record.id) } }
        telemetry.opened(try self.record(1, openedAt: 0))
        telemetry.closed(try self.record(1, openedAt: 0))
        telemetry.closed(try self.record(2, openedAt: 0))
        #expect(ended.withLock { $0 } == [1, 2])
    }
}

// SPDX-License-Identifier: Apache-2.0

import Foundation
import MeshModel
import Testing

@testable import MeshTelemetry

/// An access log that becomes another one while connections end.
@Suite struct AccessLogSwitchTests {
    private let directory = FileManager.default.temporaryDirectory.appending(path: "nodemesh-\(UUID().uuidString)")
    private let registry = MetricsRegistry()

    private func settings(_ name: String) -> AccessLogSettings {
        AccessLogSettings(target: .file(self.directory.appending(path: name).path()))
    }

    private func count(_ name: String) throws -> Int {
        try String(contentsOf: self.directory.appending(path: name), encoding: .utf8).split(separator: "\n").count
    }

    private func withDirectory(_ body: () throws -> Void) throws {
        try FileManager.default.createDirectory(at: self.directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: self.directory) }
        try body()
    }

    @Test func linesOfBeforeAreInTheOldFileAndTheMetricsGoOn() throws {
        try self.withDirectory {
            let log = try AccessLogSwitch(self.settings("old"), registry: self.registry)
            for id in 0..<1000 as Range<UInt64> { log.write(try record(id)) }
            #expect(try log.change(to: self.settings("new")))
            #expect(try self.count("old") == 1000)
            for id in 0..<10 as Range<UInt64> { log.write(try record(id)) }
            #expect(log.close())
            #expect(try self.count("old") == 1000)
            #expect(try self.count("new") == 10)
            #expect(self.registry.render().contains("nodemesh_access_log_lines_total 1010\n"))
        }
    }

    @Test func oneThatCannotBeOpenedLeavesTheOther() throws {
        try self.withDirectory {
            let log = try AccessLogSwitch(self.settings("old"), registry: self.registry)
            log.write(try record(1))
            #expect(throws: AccessLogError.self) { try log.change(to: self.settings("nowhere/new")) }
            #expect(log.settings == self.settings("old"))
            log.write(try record(2))
            #expect(log.close())
            #expect(try self.count("old") == 2)
        }
    }

    @Test func aLogMayComeAndGo() throws {
        try self.withDirectory {
            let log = try AccessLogSwitch(nil, registry: self.registry)
            #expect(log.settings == nil && self.registry.render().contains("nodemesh_access_log_lines_total 0\n"))
            log.write(try record(1))
            #expect(try log.change(to: self.settings("new")))
            log.write(try record(2))
            #expect(try log.change(to: nil))
            log.write(try record(3))
            #expect(log.settings == nil && log.close())
            #expect(try self.count("new") == 1)
            #expect(self.registry.render().contains("nodemesh_access_log_lines_total 1\n"))
        }
    }

    @Test func noLineIsLostWhileManyWrite() async throws {
        try FileManager.default.createDirectory(at: self.directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: self.directory) }
        let log = try AccessLogSwitch(self.settings("0"), registry: self.registry)
        let entry = try record(1)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<4 { group.addTask { for _ in 0..<500 { log.write(entry) } } }
            group.addTask {
                for index in 1...9 {
                    let isWhole = try log.change(to: self.settings("\(index)"))
                    #expect(isWhole)
                }
            }
            try await group.waitForAll()
        }
        #expect(log.close())
        #expect(try (0...9).map { try self.count("\($0)") }.reduce(0, +) == 2000)
    }
}

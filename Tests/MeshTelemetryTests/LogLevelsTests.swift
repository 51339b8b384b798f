// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshAdminAPI
import Synchronization
import Testing

@testable import MeshTelemetry

@Suite struct LogLevelsTests {
    /// Takes the lines and says what it got.
    private struct Sink: LogHandler {
        final class Lines: Sendable { let all = Mutex<[String]>([]) }

        let lines: Lines
        var metadata: Logger.Metadata = [:]
        var logLevel: Logger.Level = .trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { self.metadata[key] }
            set { self.metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            self.lines.all.withLock { $0.append("\(event.message)") }
        }
    }

    private let lines = Sink.Lines()

    private func logger(_ levels: LogLevels) -> Logger { levels.logger(label: "d") { _ in Sink(lines: self.lines) } }

    private func written() -> [String] {
        self.lines.all.withLock { all in
            defer { all = [] }
            return all
        }
    }

    @Test func componentsFollowTheBaseUntilChanged() throws {
        let levels = LogLevels(.info)
        let (logger, dns) = (self.logger(levels), self.logger(levels).component("dns"))
        let older = dns
        logger.debug("1")
        dns.debug("2")
        #expect(self.written() == [])
        try levels.override(component: "dns", level: .debug, seconds: nil)
        logger.debug("3")
        dns.debug("4")
        older.debug("5")
        #expect(self.written() == ["4", "5"])
        try levels.override(component: nil, level: .error, seconds: nil)
        logger.warning("6")
        dns.debug("7")
        #expect(self.written() == ["7"])
        levels.setBase(.trace)
        logger.info("8")
        #expect(self.written() == [], "a change outlives a reload")
        try levels.override(component: nil, level: nil, seconds: nil)
        logger.trace("9")
        dns.trace("10")
        #expect(self.written() == ["9", "10"])
        #expect(levels.summary.components.map(\.component) == ["d", "dns"])
        #expect(levels.summary.components.allSatisfy { !$0.isChanged && $0.level == "trace" })
    }

    @Test func aLibraryMaySayLess() throws {
        let levels = LogLevels(.info)
        var quiet = self.logger(levels)
        quiet.logLevel = .warning
        quiet.info("1")
        try levels.override(component: nil, level: .trace, seconds: nil)
        quiet.info("2")
        quiet.warning("3")
        #expect(self.written() == ["3"])
    }

    @Test func aChangeEndsWhenItsTimeIsUpAndALaterOneDoesNot() throws {
        let levels = LogLevels(.info)
        let dns = self.logger(levels).component("dns")
        try levels.override(component: "dns", level: .debug, seconds: 600)
        let first = try #require(levels.summary.components.last?.until)
        try levels.override(component: "dns", level: .trace, seconds: 700)
        levels.end("dns", until: first)
        dns.trace("1")
        #expect(self.written() == ["1"])
        levels.end("dns", until: levels.summary.components.last?.until)
        dns.debug("2")
        #expect(self.written() == [])
        #expect(levels.summary.components.last?.isChanged == false)
    }

    @Test func wrongWishesAreRefused() {
        let levels = LogLevels(.info)
        _ = self.logger(levels)
        for request in [
            LogLevelRequest(component: "none", level: "debug", seconds: nil),
            LogLevelRequest(component: nil, level: "loud", seconds: nil),
            LogLevelRequest(component: nil, level: "debug", seconds: 0),
        ] {
            #expect(throws: ErrorResponse.self) { try levels.take(request) }
        }
    }

    @Test func theLatestLinesAreKeptAndNoMore() {
        let levels = LogLevels(.info)
        let logger = self.logger(levels).component("dns")
        for index in 0..<600 {
            logger.info("\(index)", metadata: ["long": "\(String(repeating: "x", count: 5000))"])
        }
        #expect(levels.lines.count == 500)
        #expect(levels.lines.first?.message == "100")
        #expect(levels.lines.first?.component == "dns")
        #expect(levels.lines.first?.metadata["long"]?.count == 1000)
    }

    @Test func componentsAreBounded() {
        let levels = LogLevels(.info)
        let logger = self.logger(levels)
        for index in 0..<200 { logger.component("c\(index)").info("x") }
        #expect(levels.summary.components.count <= 64)
    }
}
